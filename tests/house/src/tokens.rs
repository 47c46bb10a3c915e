//! Finds paths and closures in what isn't parsed: macros, attributes, whole files.

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};
use syn::ext::IdentExt as _;

/// Paths, each after its line.
type Paths = Vec<(usize, Vec<String>)>;

/// Every path in a macro.
pub(crate) fn paths(stream: &TokenStream) -> Paths {
    let mut scan = Scan { quoted: false, found: Vec::new() };
    scan.stream(stream, &[]);
    scan.found
}

/// Every path in an attribute, where serde and clap take paths in quotes too.
pub(crate) fn paths_in_attribute(stream: &TokenStream) -> Paths {
    let mut scan = Scan { quoted: true, found: Vec::new() };
    scan.stream(stream, &[]);
    scan.found
}

struct Scan {
    quoted: bool,
    found: Paths,
}

impl Scan {
    fn stream(&mut self, stream: &TokenStream, before: &[String]) {
        let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Ident(_) => self.path(&tokens, at, before),
                TokenTree::Group(group) => {
                    self.stream(&group.stream(), &[]);
                    at + 1
                }
                TokenTree::Literal(literal) => {
                    self.literal(literal);
                    at + 1
                }
                TokenTree::Punct(_) => at + 1,
            };
        }
    }

    /// Takes the path that starts here, and gives where it ends. Braces after `::` hold the rests
    /// of several paths.
    fn path(&mut self, tokens: &[TokenTree], start: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        let mut at = start;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => path.push(name.unraw().to_string()),
                Some(TokenTree::Group(rests)) if rests.delimiter() == Delimiter::Brace => {
                    self.stream(&rests.stream(), &path);
                }
                _ => break,
            }
            at += 1;
            if !are_colons(tokens, at) {
                break;
            }
            at += 2;
        }
        // What follows `::` belongs to another crate's path or to a type's.
        if start < 2 || !are_colons(tokens, start - 2) {
            self.found.push((tokens[start].span().start().line, path));
        }
        at
    }

    fn literal(&mut self, literal: &Literal) {
        let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
        if let Ok(path) = text.and_then(|text| text.parse::<syn::Path>())
            && self.quoted
        {
            let names = path.segments.iter().map(|segment| segment.ident.unraw().to_string());
            self.found.push((literal.span().start().line, names.collect()));
        }
    }
}

fn are_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |token: &TokenTree| token.to_string() == ":";
    tokens.get(at..at + 2).is_some_and(|both| both.iter().all(is_colon))
}

/// How many closures have one argument, called `name`.
pub(crate) fn closures_of(name: &str, stream: &TokenStream) -> usize {
    let (mut texts, mut within) = (Vec::new(), 0);
    for token in stream.clone() {
        match token {
            TokenTree::Group(group) => {
                within += closures_of(name, &group.stream());
                texts.push(String::new());
            }
            token => texts.push(token.to_string()),
        }
    }
    let starts = (0..texts.len()).filter(|at| texts[*at] == "|");
    within + starts.filter(|at| is_alone(name, &texts[at + 1..])).count()
}

/// Whether these tokens start with a closure's arguments, and `name` is all of them.
fn is_alone(name: &str, tokens: &[String]) -> bool {
    let mut tokens = tokens.iter().map(String::as_str).skip_while(|one| ["&", "mut"].contains(one));
    let is_first = tokens.next() == Some(name);
    let end = match tokens.next() {
        Some(":") => tokens.find(|one| [",", "|"].contains(one)),
        end => end,
    };
    is_first && end == Some("|")
}
