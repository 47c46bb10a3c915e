//! The versions of launch templates. None is ever deleted alone, so their numbers are their places.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::{LIMITS, Selection};
use super::templates::{LaunchTemplate, Which, answer_form, creator};
use super::{Service, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// A version.
pub(super) struct Version {
    created: Timestamp,
    description: Option<String>,
    /// As answers write it.
    data: Value,
    /// As it was requested.
    pub(super) requested: Value,
    token: Option<(String, Value)>,
}

impl Version {
    pub(super) fn new(
        created: Timestamp,
        description: Option<String>,
        data: Map<String, Value>,
        token: Option<(String, Value)>,
    ) -> Self {
        let requested = Value::Object(data);
        Self { created, description, data: answer_form(requested.clone()), requested, token }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    client_token: Option<String>,
    source_version: Option<String>,
    version_description: Option<String>,
    launch_template_data: Map<String, Value>,
}

/// CreateLaunchTemplateVersion: what isn't given is the source version's, where one is named.
pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let whole = parameters.clone();
    let which = Which::take(&mut parameters)?;
    let request: Create = query::parse(parameters)?;
    let id = which.find(service.state)?.id.clone();
    let position = service.state.templates.iter().position(|it| it.id == id);
    let Some(template) = position.and_then(|at| service.state.templates.get(at)) else {
        return Err(AwsError::new(
            "InvalidLaunchTemplateId.NotFound",
            "The launch template does not exist.",
        ));
    };
    if let Some(token) = &request.client_token {
        let of_token = |it: &Version| it.token.as_ref().is_some_and(|(known, _)| known == token);
        if let Some(known) = template.versions.iter().position(of_token) {
            let same =
                template.versions[known].token.as_ref().is_some_and(|(_, before)| *before == whole);
            let message =
                "The request uses the same client token as a previous, but non-identical request.";
            return match same {
                true => {
                    Ok(json!({ "launchTemplateVersion": template.version(service, known + 1) }))
                }
                false => Err(AwsError::new("IdempotentParameterMismatch", message)),
            };
        }
    }
    let mut data = match &request.source_version {
        Some(version) => {
            template.versions[template.number(version)? - 1].requested.as_object().cloned()
        }
        None => None,
    }
    .unwrap_or_default();
    data.extend(request.launch_template_data);
    let token = request.client_token.map(|token| (token, whole));
    let version = Version::new(context.now, request.version_description, data, token);
    let Some(template) = service.state.templates.iter_mut().find(|it| it.id == id) else {
        return Ok(Value::Null);
    };
    template.versions.push(version);
    let number = template.versions.len();
    let template = which.find(service.state)?;
    Ok(json!({ "launchTemplateVersion": template.version(service, number) }))
}

/// DescribeLaunchTemplateVersions, of one template.
pub(super) fn describe(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let which = Which::take(&mut parameters)?;
    let named = query::take_list(&mut parameters, "LaunchTemplateVersion")?;
    for ignored in ["MinVersion", "MaxVersion", "ResolveAlias"] {
        query::take(&mut parameters, ignored);
    }
    let selection = Selection::read(parameters)?;
    let template = which.find_shown(service, context)?;
    let numbers = match named.is_empty() {
        true => (1..=template.versions.len()).collect(),
        false => {
            named.iter().map(|version| template.number(version)).collect::<Result<Vec<_>, _>>()?
        }
    };
    let versions = numbers.into_iter().map(|number| template.version(service, number)).collect();
    let (page, next) = selection.page(versions, LIMITS)?;
    Ok(json!({ "launchTemplateVersionSet": page, "nextToken": next }))
}

impl LaunchTemplate {
    /// A version as answers write it; there has to be one of this number.
    fn version(&self, service: &Service<'_>, number: usize) -> Value {
        let version = &self.versions[number - 1];
        json!({
            "launchTemplateId": self.id,
            "launchTemplateName": self.name(),
            "versionNumber": number,
            "versionDescription": version.description,
            "createTime": time(version.created),
            "createdBy": creator(service),
            "defaultVersion": number == 1,
            "launchTemplateData": version.data,
        })
    }
}
