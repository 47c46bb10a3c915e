//! The command lines of one of our programs in README.md and docs/. Part of both programs' tests,
//! which parse them.

use std::path::Path;

/// A command line in a page.
#[derive(Debug)]
pub(crate) struct Line {
    /// The page, and what stands in it.
    pub(crate) place: String,
    /// The words, the program first.
    pub(crate) words: Vec<String>,
    /// Whether it is only named in a sentence: then what a command needs may be left out.
    pub(crate) named: bool,
}

/// All of them, from code blocks and from code in sentences.
pub(crate) fn of(program: &str) -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs"))
        .expect("docs/")
        .map(|entry| entry.expect("an entry").path());
    let pages = docs
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .chain([root.join("README.md")]);
    pages.flat_map(|page| in_page(&page, program)).collect()
}

fn in_page(page: &Path, program: &str) -> Vec<Line> {
    let text = std::fs::read_to_string(page).expect("a page");
    let name = page.file_name().unwrap_or_default().to_string_lossy();
    let mut lines = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            lines.extend(commands(line, program).map(|words| Line {
                place: format!("{name}: {line}"),
                words,
                named: false,
            }));
        } else {
            // Every other part stands between backquotes. What can be left out or repeated is no
            // command line.
            let spans = line.split('`').skip(1).step_by(2).filter(|span| !span.contains('['));
            let named = |span: &str| -> Vec<Line> {
                let found = commands(span, program);
                found
                    .map(|words| Line { place: format!("{name}: {span}"), words, named: true })
                    .collect()
            };
            lines.extend(spans.flat_map(named));
        }
    }
    lines
}

/// The parts of a shell's line that run the program.
fn commands<'a>(line: &'a str, program: &'a str) -> impl Iterator<Item = Vec<String>> + 'a {
    parts(line).into_iter().filter_map(move |words| {
        let mut words = words.into_iter().skip_while(|word| leads(word));
        let first = words.next()?;
        let is_it = first.rsplit('/').next() == Some(program);
        is_it.then(|| std::iter::once(first).chain(words).collect())
    })
}

/// What may stand before a program: the shell's words, variables, and a cron table's times.
fn leads(word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    ["until", "while", "if", "do", "then", "!", "sudo"].contains(&word)
        || word.split_once('=').is_some_and(|(name, _)| is_name(name))
        || word.bytes().all(|b| b.is_ascii_digit() || b"*/,-".contains(&b))
}

/// A line cut where the shell begins another command or a file's name, each part in words. No more
/// of the shell's language than the pages use.
fn parts(line: &str) -> Vec<Vec<String>> {
    let (mut parts, mut word, mut quote) = (vec![Vec::new()], None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '(' | ')' | '<' | '>') => {
                // The number in `2>file` is no word.
                let done = word.take().filter(|it| letter != '>' || it.parse::<u8>().is_err());
                parts.last_mut().expect("one at least").extend(done);
                if letter != ' ' {
                    parts.push(Vec::new());
                }
            }
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    parts.last_mut().expect("one at least").extend(word);
    parts
}

#[test]
fn a_line_is_read_as_the_shell_reads_it() {
    let of =
        |line: &str| -> Vec<String> { commands(line, "x").map(|words| words.join("_")).collect() };
    assert_eq!(
        of("  until A=b ./bin/x a 'b c' 2>log | grep x; do y; done # x d"),
        ["./bin/x_a_b c"]
    );
    assert_eq!(of("*/15 * * * *  x reap && x -j > f"), ["x_reap", "x_-j"]);
    assert_eq!(of("next: x up"), [""; 0]);
}
