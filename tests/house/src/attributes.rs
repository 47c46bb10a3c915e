//! What attributes say of tests and of files.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Token};

/// Whether what has these attributes exists in tests only.
pub(crate) fn only_for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let is_test = attr.path().segments.last().is_some_and(|last| last.ident == "test");
        let is_cfg = attr.path().is_ident("cfg");
        is_test || is_cfg && attr.parse_args().is_ok_and(|condition| needs_test(&condition))
    })
}

fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(parts) = list.parse_args_with(parse) else { return false };
    list.path.is_ident("all") && parts.iter().any(needs_test)
        || list.path.is_ident("any") && parts.iter().all(needs_test)
}

/// What `#[path = "..."]` says.
pub(crate) fn given_path(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}
