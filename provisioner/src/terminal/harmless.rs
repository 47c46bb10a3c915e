//! What others wrote, on the terminal of whoever runs this: a job's reason or an instance's console
//! output comes from people's jobs, and a terminal obeys what stands in it.

use std::borrow::Cow;

/// The text with each control character replaced that could move the cursor, set a title or hide
/// something. Line breaks, tabs and colours (`ESC [ digits m`) stay.
#[must_use]
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = colour(rest).unwrap_or(c.len_utf8());
        let (this, behind) = rest.split_at(taken);
        let is_harmful = taken == c.len_utf8() && c.is_control() && !matches!(c, '\n' | '\t');
        out.push_str(if is_harmful { "\u{fffd}" } else { this });
        rest = behind;
    }
    Cow::Owned(out)
}

/// How long the colour is that the text begins with.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some("\x1b[".len() + end + "m".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(harmless("title \x1b]0;owned\x07"), "title \u{fffd}]0;owned\u{fffd}");
        assert_eq!(harmless("up \x1b[2A\x1b[K"), "up \u{fffd}[2A\u{fffd}[K");
        assert_eq!(harmless("over\rwritten \u{9b}2J"), "over\u{fffd}written \u{fffd}2J");
        assert_eq!(harmless("cut \x1b[31"), "cut \u{fffd}[31");
    }

    #[test]
    fn lines_tabs_colours_and_all_scripts_stay() {
        for text in ["a\tb\nc", "\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m", "Größe 容量", ""]
        {
            assert_eq!(harmless(text), text);
        }
    }
}
