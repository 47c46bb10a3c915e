//! Lines broken between words, so that a terminal doesn't break them within one.

/// The text with each line that is longer than `columns` broken at blanks, the rest of it further
/// in than its start. What stands in backquotes is a command or a key: it stays whole, to be
/// copied, and so does a word that is longer than a line.
#[must_use]
pub(super) fn wrapped(text: &str, columns: usize) -> String {
    text.split('\n').map(|line| wrapped_line(line, columns)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, columns: usize) -> String {
    if console::measure_text_width(line) <= columns {
        return line.to_owned();
    }
    let blanks = line.chars().take_while(|c| *c == ' ').count();
    let indent = " ".repeat(blanks + 2);
    let (mut lines, mut now) = (Vec::new(), " ".repeat(blanks));
    let mut is_first = true;
    for word in words(line.trim_start_matches(' ')) {
        let fits =
            console::measure_text_width(&now) + 1 + console::measure_text_width(word) <= columns;
        if is_first {
            now.push_str(word);
        } else if fits {
            now.push(' ');
            now.push_str(word);
        } else {
            lines.push(std::mem::replace(&mut now, format!("{indent}{word}")));
        }
        is_first = false;
    }
    lines.push(now);
    lines.join("\n")
}

/// Cut at blanks, but not between backquotes.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut from, mut is_quoted) = (Vec::new(), 0, false);
    for (at, c) in line.char_indices() {
        match c {
            '`' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                words.push(&line[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[from..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_goes_on_further_in() {
        assert_eq!(wrapped("a bc def", 8), "a bc def");
        assert_eq!(wrapped("a bc def ghi", 8), "a bc def\n  ghi");
        assert_eq!(wrapped("  next: one two three", 14), "  next: one\n    two three");
        assert_eq!(wrapped("one\ntwo three", 5), "one\ntwo\n  three");
    }

    /// Catches: a command that can't be copied, an id that stands on two lines.
    #[test]
    fn commands_and_long_words_stay_whole() {
        assert_eq!(
            wrapped("then run `spotblock down --all` again", 24),
            "then run\n  `spotblock down --all`\n  again"
        );
        assert_eq!(wrapped("id 0123456789abcdef end", 8), "id\n  0123456789abcdef\n  end");
        assert_eq!(wrapped("an odd ` alone", 9), "an odd\n  ` alone");
    }

    #[test]
    fn colours_take_no_room() {
        assert_eq!(wrapped("\u{1b}[32mgreen\u{1b}[0m day", 9), "\u{1b}[32mgreen\u{1b}[0m day");
    }
}
