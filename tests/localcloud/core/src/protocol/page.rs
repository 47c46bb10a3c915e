//! Pages of lists, for the services that hand out a `nextToken`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One page, and the token for the next one if there is more.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_token: Option<String>,
}

/// Cuts a page of at most `limit` out of `items`, which stand in the order of their keys. The token
/// is the last key given, so that an item that comes or goes between two pages neither repeats nor
/// hides another.
///
/// # Errors
/// When the token is none that this function made.
pub(crate) fn page<T>(
    items: Vec<(String, T)>,
    token: Option<&str>,
    limit: usize,
) -> Result<Page<T>, BadToken> {
    let after = match token {
        None | Some("") => None,
        Some(token) => {
            let bytes = STANDARD.decode(token).map_err(|_| BadToken)?;
            Some(String::from_utf8(bytes).map_err(|_| BadToken)?)
        }
    };
    let mut rest = items
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .peekable();
    let mut items = Vec::new();
    let mut last = String::new();
    while let Some((key, item)) = rest.next_if(|_| items.len() < limit) {
        items.push(item);
        last = key;
    }
    let next_token = rest.peek().is_some().then(|| STANDARD.encode(last));
    Ok(Page { items, next_token })
}

/// A token from elsewhere.
#[derive(Debug)]
pub(crate) struct BadToken;

#[cfg(test)]
mod tests {
    use super::*;

    fn items(keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect()
    }

    #[test]
    fn pages_join_up_when_items_come_and_go_between_them() {
        let first = page(items(&["a", "b", "c", "d"]), None, 2).expect("the first page");
        assert_eq!(first.items, ["a", "b"]);
        let token = first.next_token.expect("there is more");
        let second = page(items(&["a", "aa", "c", "d"]), Some(&token), 2).expect("the second page");
        assert_eq!(second.items, ["c", "d"]);
        assert_eq!(second.next_token, None);
    }

    #[test]
    fn a_foreign_token_is_refused() {
        assert!(page(items(&["a"]), Some("not base64!"), 2).is_err());
    }
}
