//! The terminal that results go to: how large it is, colours, and drawing in place. What is drawn
//! is made without I/O.

use jiff::Timestamp;

/// How wide a text is made where nobody knows the terminal.
pub(crate) const COLUMNS: usize = 80;
/// Asked each time, since a terminal can be resized: columns and rows; none where stdout is no
/// terminal.
pub type Size = fn() -> Option<(u16, u16)>;

/// What a part of a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Soon over.
    Soon,
    /// Over, or wrong.
    Bad,
}

/// How texts are made for an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// How wide.
    pub columns: usize,
    /// Whether colours may be used.
    pub colour: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { columns: COLUMNS, colour: false }
    }
}

impl Look {
    /// The text in the tone's colour.
    #[must_use]
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Soon => 33,
            Tone::Bad => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A block's moments on a line of `cells`: `=` has passed, `D` begins the drain, `S` stops the
/// jobs.
#[must_use]
pub(crate) fn bar(
    cells: usize,
    span: (Timestamp, Timestamp),
    marks: &[(char, Timestamp)],
    now: Timestamp,
) -> String {
    let (start, end) = span;
    let whole = start.duration_until(end).as_secs().max(1);
    let cell = |at: Timestamp| {
        let gone = start.duration_until(at).as_secs().clamp(0, whole);
        let cells = i64::try_from(cells).unwrap_or(i64::MAX);
        usize::try_from(gone.saturating_mul(cells) / whole).unwrap_or(cells_of(cells))
    };
    let passed = cell(now);
    let of = |n: usize| {
        let mark = marks.iter().find(|(_, at)| cell(*at) == n).map(|(mark, _)| *mark);
        mark.unwrap_or(if n < passed { '=' } else { '-' })
    };
    (0..cells).map(of).collect()
}

fn cells_of(cells: i64) -> usize {
    usize::try_from(cells).unwrap_or_default()
}

/// What draws a text over the one before, from the top of the screen: no line wraps, and none is
/// off the screen, where it couldn't be drawn over. The text isn't erased first, so that nothing
/// flickers.
#[must_use]
pub(crate) fn frame(text: &str, (columns, rows): (u16, u16)) -> String {
    let room = usize::from(rows).saturating_sub(1).max(1);
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    let mut frame = String::from("\x1b[H");
    let cut = |line: &str| console::truncate_str(line, usize::from(columns), "").into_owned();
    for line in lines.iter().take(shown) {
        frame.push_str(&cut(line));
        frame.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        frame.push_str(&cut(&format!(
            "({} more lines; a higher terminal shows them)",
            lines.len() - shown
        )));
        frame.push_str("\x1b[K\n");
    }
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time")
            + jiff::SignedDuration::from_mins(minutes)
    }

    #[test]
    fn a_bar_shows_what_has_passed_and_where_drain_and_stop_are() {
        let of = |now| bar(12, (at(0), at(60)), &[('D', at(45)), ('S', at(55))], at(now));
        assert_eq!(of(0), "---------D-S");
        assert_eq!(of(30), "======---D-S");
        assert_eq!(of(60), "=========D=S");
        assert_eq!(of(600), "=========D=S");
        assert_eq!(of(-5), "---------D-S", "a clock that is behind");
        assert_eq!(bar(4, (at(0), at(0)), &[], at(0)), "----", "a block without a length");
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        let text = "a long first line\nsecond\nthird\nfourth";
        let drawn = frame(text, (6, 4));
        assert_eq!(drawn, "\x1b[Ha long\x1b[K\nsecond\x1b[K\n(2 mor\x1b[K\n\x1b[J");
        assert!(!frame(text, (80, 5)).contains("more lines"), "it just fits");
        // A colour is no character, and ends where the line is cut.
        let coloured = Look { columns: 80, colour: true }.paint(Tone::Bad, "abcdef");
        assert_eq!(frame(&coloured, (3, 9)), "\x1b[H\x1b[31mabc\x1b[0m\x1b[K\n\x1b[J");
    }
}
