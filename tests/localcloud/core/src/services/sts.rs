//! STS, as far as somebody asks who they are.

use serde_json::json;

use crate::protocol::wire::query;
use crate::protocol::{AwsError, Caller, Context, Handled, Options, Request};
use crate::services::ec2::{Ec2, Instance};

pub(crate) fn handle(
    options: &Options,
    ec2: &Ec2,
    context: &Context,
    request: &Request,
) -> Handled {
    query::handle("sts", context, request, |action, _| match action {
        "GetCallerIdentity" => {
            let account = &options.account;
            let (id, arn) = match &context.caller {
                Caller::Instance(instance) => {
                    let profile = ec2.instance(instance).and_then(Instance::profile);
                    let role =
                        profile.and_then(|profile| profile.role.as_deref()).unwrap_or("none");
                    let arn = format!("arn:aws:sts::{account}:assumed-role/{role}/{instance}");
                    (format!("AROA4ROLEOFINSTANCE01:{instance}"), arn)
                }
                _ => (
                    "AIDA4EXAMPLEUSER00001".to_owned(),
                    format!("arn:aws:iam::{account}:user/example"),
                ),
            };
            Ok(json!({ "Arn": arn, "UserId": id, "Account": account }))
        }
        _ => {
            let message = format!("Could not find operation {action} for version 2011-06-15");
            Err(AwsError::new("InvalidAction", message))
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::cloud::testing::{World, contains};

    #[test]
    fn a_user_learns_the_account() {
        let mut world = World::new();
        let answer = world.query("sts", "Action=GetCallerIdentity&Version=2011-06-15");
        assert!(contains(&answer, "<Account>123456789012</Account>"));
    }
}
