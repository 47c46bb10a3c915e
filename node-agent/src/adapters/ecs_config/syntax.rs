//! How systemd reads a file of KEY=VALUE lines, as far as it goes on from one line into the next:
//! systemd.exec(5), EnvironmentFile=. tests/peers/ecs_config.py holds it against systemd's own
//! parser.

/// What goes on at the end of a text, to systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// Nothing: the next line stands by itself.
    Nothing,
    /// A backslash stood before the end of the line.
    Line,
    /// A value in single quotes.
    SingleQuote,
    /// A value in double quotes.
    DoubleQuote,
}

#[derive(Clone, Copy)]
enum State {
    LineStart,
    Key,
    ValueStart,
    Value,
    EscapeInValue,
    SingleQuote,
    DoubleQuote,
    EscapeInDoubleQuote,
    Comment,
    EscapeInComment,
}

/// What goes on at the end of `text`, which is whole lines.
pub(super) fn open_at_end(text: &[u8]) -> Open {
    let (state, escaped) = text.iter().fold((State::LineStart, false), |(state, _), byte| {
        let escapes = matches!(state, State::EscapeInValue | State::EscapeInComment);
        (next(state, *byte), escapes && *byte == b'\n')
    });
    match state {
        State::SingleQuote => Open::SingleQuote,
        State::DoubleQuote | State::EscapeInDoubleQuote => Open::DoubleQuote,
        State::EscapeInValue | State::EscapeInComment => Open::Line,
        State::Value | State::Comment if escaped => Open::Line,
        _ => Open::Nothing,
    }
}

fn next(state: State, byte: u8) -> State {
    let ends_line = matches!(byte, b'\n' | b'\r');
    match (state, byte) {
        (State::LineStart, b'#' | b';') => State::Comment,
        (State::LineStart, b' ' | b'\t' | b'\n' | b'\r') => State::LineStart,
        (State::Key, b'=') | (State::ValueStart, b' ' | b'\t') => State::ValueStart,
        (State::Key | State::ValueStart | State::Value | State::Comment, _) if ends_line => {
            State::LineStart
        }
        (State::LineStart | State::Key, _) => State::Key,
        (State::ValueStart, b'\'') => State::SingleQuote,
        (State::ValueStart, b'"') => State::DoubleQuote,
        (State::ValueStart | State::Value, b'\\') => State::EscapeInValue,
        (State::ValueStart | State::Value | State::EscapeInValue, _) => State::Value,
        (State::SingleQuote, b'\'') | (State::DoubleQuote, b'"') => State::ValueStart,
        (State::SingleQuote, _) => State::SingleQuote,
        (State::DoubleQuote, b'\\') => State::EscapeInDoubleQuote,
        (State::DoubleQuote | State::EscapeInDoubleQuote, _) => State::DoubleQuote,
        (State::Comment, b'\\') => State::EscapeInComment,
        (State::Comment | State::EscapeInComment, _) => State::Comment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_in_the_next_line_is_seen() {
        let cases: [(&[u8], Open); 18] = [
            (b"", Open::Nothing),
            (b"A=1\n", Open::Nothing),
            (b"A=1\\\n", Open::Line),
            (b"A=1\\\n\n", Open::Nothing),
            (b"A=1\\\\\n", Open::Nothing),
            (b"A=1\\\r\n", Open::Nothing),
            (b"# it's a comment \"\n", Open::Nothing),
            (b"# a comment\\\n", Open::Line),
            (b"A=\"1\n", Open::DoubleQuote),
            (b"A=\"1\\\n", Open::DoubleQuote),
            (b"A=\"1\\\"\n", Open::DoubleQuote),
            (b"A='1\\\n", Open::SingleQuote),
            (b"A='1' \"2\n", Open::DoubleQuote),
            (b"A=it's\n", Open::Nothing),
            (b"A={\"b\":\"c\"}\n", Open::Nothing),
            (b"nonsense'\"\n", Open::Nothing),
            (b"A=\n", Open::Nothing),
            (b"A='1\n2'\nB=\"3\"\n", Open::Nothing),
        ];
        for (text, open) in cases {
            assert_eq!(open_at_end(text), open, "{:?}", String::from_utf8_lossy(text));
        }
    }
}
