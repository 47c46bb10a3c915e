//! What is ours, and the one gate before anything is changed.
//!
//! Every call that ends, tags or changes a thing in AWS takes an [`Owned`]. Of a thing that was
//! there before, only [`Marks::claim`] makes one, and it looks at the tags; so a change that nobody
//! checked doesn't compile.
//!
//! - an instance that was launched from a template is ours when that is its block's record, and its
//!   tags are the marks: which template it is from, only AWS can say. Where the record is gone, or
//!   can't be read, the tags alone count
//! - an instance that a spot request brought is what its request is: a tag can be copied onto it by
//!   hand, a request's id can't. Its own tags count where AWS no longer shows the request, and
//!   don't where requests can't be read
//! - an instance of neither kind was never ours
//! - anything else is ours when it carries the marks: of the environment, and of the block where it
//!   belongs to one

use std::collections::BTreeMap;

use node_contract::names::tag;

use crate::instance::Instance;
use crate::spot_request::SpotRequest;

/// The id or name of a thing that is ours to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned(String);

impl Owned {
    /// Its id or name, as the call that changes it wants it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0
    }

    /// What belongs to a thing of ours and to nobody else: an instance's container instance, and a
    /// task on it.
    #[must_use]
    pub fn owned_child(&self, id: &str) -> Self {
        Self(id.to_owned())
    }

    /// Something that this run has just made itself. AWS said so: nobody else's thing has this
    /// name.
    #[must_use]
    pub fn created(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// The ids of several, for messages and calls.
#[must_use]
pub fn ids(owned: &[Owned]) -> Vec<String> {
    owned.iter().map(|it| it.0.clone()).collect()
}

/// The tags that mark what is ours.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    environment: &'a str,
    block: Option<&'a str>,
    template: Option<&'a str>,
}

impl<'a> Marks<'a> {
    /// Of what is around the blocks of an environment.
    #[must_use]
    pub fn of_environment(environment: &'a str) -> Self {
        Self { environment, block: None, template: None }
    }

    /// Of what belongs to one block.
    #[must_use]
    pub fn of_block(environment: &'a str, block: &'a str) -> Self {
        Self { environment, block: Some(block), template: None }
    }

    /// The same, with the template that the block's instances are launched from, where it is known.
    #[must_use]
    pub fn of_template(self, template: Option<&'a str>) -> Self {
        Self { template, ..self }
    }

    /// The marks as tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let block = self.block.map(|block| (tag::BLOCK.to_owned(), block.to_owned()));
        block
            .into_iter()
            .chain([(tag::ENVIRONMENT.to_owned(), self.environment.to_owned())])
            .collect()
    }

    /// Whether these tags are the marks.
    #[must_use]
    pub fn are_on(&self, tags: &BTreeMap<String, String>) -> bool {
        let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
        is(tag::ENVIRONMENT, self.environment)
            && self.block.is_none_or(|block| is(tag::BLOCK, block))
    }

    /// The gate: leave to change the thing with this id or name, if its tags are the marks.
    #[must_use]
    pub fn claim(&self, id: &str, tags: &BTreeMap<String, String>) -> Option<Owned> {
        self.are_on(tags).then(|| Owned(id.to_owned()))
    }

    /// The gate for an instance. `requests` are all that are known, other people's too.
    #[must_use]
    pub fn claim_instance(&self, instance: &Instance, requests: &[SpotRequest]) -> Option<Owned> {
        if let Some(template) = instance.template() {
            let known = self.template.is_none_or(|record| record == template);
            return self.claim(&instance.id, &instance.tags).filter(|_| known);
        }
        match requests.iter().find(|it| brought(it, instance)) {
            Some(request) => self.claim(&instance.id, &request.tags),
            None if instance.spot_request.is_some() => self.claim(&instance.id, &instance.tags),
            None => None,
        }
    }

    /// Whether only its spot request says whose an instance is, and it isn't among these.
    #[must_use]
    pub fn needs_its_request(instance: &Instance, requests: &[SpotRequest]) -> bool {
        instance.template().is_none() && !requests.iter().any(|it| brought(it, instance))
    }
}

fn brought(request: &SpotRequest, instance: &Instance) -> bool {
    instance.spot_request.as_ref() == Some(&request.id)
        || request.instance.as_ref() == Some(&instance.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::{instance, request};

    const ENVIRONMENT: &str = "spot-block-test";
    const BLOCK: &str = "sb-0123456789";

    fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
        tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Catches: foreign look-alikes taken for ours, and our own untagged instances taken for
    /// foreign.
    #[test]
    fn an_instance_is_what_its_request_is_and_otherwise_what_its_tags_say() {
        let both = tags(&[(tag::ENVIRONMENT, ENVIRONMENT), (tag::BLOCK, BLOCK)]);
        let owned = request("sir-1", "active", "fulfilled", Some("i-1"));
        let mut foreign = request("sir-2", "active", "fulfilled", Some("i-2"));
        foreign.tags = tags(&[("Name", "spotblock spot-block-test")]);
        let requests = [owned, foreign];
        let marks = Marks::of_block(ENVIRONMENT, BLOCK);
        let of = |spot_request, tags: &BTreeMap<String, String>| {
            let instance =
                Instance { tags: tags.clone(), ..instance("i-3", "running", spot_request) };
            marks.claim_instance(&instance, &requests).is_some()
        };
        let none = BTreeMap::new();
        assert!(of(Some("sir-1"), &none), "untagged, but of our request");
        assert!(!of(None, &both), "both marks copied by hand, launched by nothing of ours");
        let named = marks.claim_instance(&instance("i-1", "running", None), &requests);
        assert!(named.is_some(), "our request names it, though it doesn't name the request");
        assert!(of(Some("sir-9"), &both), "both marks, and AWS has forgotten the request");
        assert!(!of(Some("sir-2"), &both), "the marks copied by hand, of a foreign request");
        assert!(!of(Some("sir-2"), &none), "of a foreign request");
        assert!(!of(Some("sir-9"), &none), "of a request that nobody knows");
        assert!(!of(None, &none), "in the same cluster, nothing else");
        assert!(!of(None, &tags(&[("Name", "spotblock spot-block-test")])), "the same name");
        assert!(!of(None, &tags(&[(tag::ENVIRONMENT, ENVIRONMENT)])), "one mark of two");
        assert!(!of(None, &tags(&[(tag::BLOCK, BLOCK)])), "the other mark of two");
        assert!(
            !of(None, &tags(&[(tag::ENVIRONMENT, "other"), (tag::BLOCK, BLOCK)])),
            "another environment"
        );
        for id in ["sb-9999999999", "SB-0123456789", "0123456789", "sb-0123456789 "] {
            assert!(
                !of(None, &tags(&[(tag::ENVIRONMENT, ENVIRONMENT), (tag::BLOCK, id)])),
                "block {id:?}"
            );
        }
    }

    /// Catches: a foreign instance whose tags were copied from ours, ended with our block.
    #[test]
    fn which_template_an_instance_is_from_only_aws_can_say() {
        let marks = Marks::of_block(ENVIRONMENT, BLOCK).of_template(Some("lt-1"));
        let from = |template: &str, block: &str, marks: &Marks<'_>| {
            let own = [
                (tag::ENVIRONMENT, ENVIRONMENT),
                (tag::BLOCK, block),
                ("aws:ec2launchtemplate:id", template),
            ];
            let spot = Instance { tags: tags(&own), ..instance("i-3", "running", Some("sir-7")) };
            marks.claim_instance(&spot, &[]).is_some()
        };
        assert!(from("lt-1", BLOCK, &marks), "of the block's record");
        assert!(!from("lt-2", BLOCK, &marks), "of another template, with the marks copied by hand");
        assert!(!from("lt-1", "sb-9999999999", &marks), "of the record, without the block's mark");
        assert!(
            from("lt-1", BLOCK, &Marks::of_block(ENVIRONMENT, BLOCK)),
            "and the record is gone"
        );
    }

    #[test]
    fn what_is_around_a_block_needs_the_environments_mark_alone() {
        let marks = Marks::of_environment(ENVIRONMENT);
        assert!(
            marks.are_on(&marks.tags())
                && !Marks::of_block(ENVIRONMENT, BLOCK).are_on(&marks.tags())
        );
        assert_eq!(
            marks.claim("q", &tags(&[(tag::ENVIRONMENT, ENVIRONMENT)])).expect("ours").id(),
            "q"
        );
        assert!(marks.claim("q", &tags(&[(tag::ENVIRONMENT, "spot-block")])).is_none());
        assert!(marks.claim("q", &BTreeMap::new()).is_none());
    }
}
