//! Launch templates. What one holds is kept whole and given back (`versions.rs`); what is launched
//! from one is in `template_launch.rs`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::Selection;
use super::tags::{self, TagSpecification};
use super::versions::Version;
use super::{Ec2, Service, millis, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// A launch template. Its default version is the first.
pub(super) struct LaunchTemplate {
    pub(super) id: String,
    name: String,
    created: Timestamp,
    /// The first is the one that it was created with.
    pub(super) versions: Vec<Version>,
    token: Option<(String, Value)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    client_token: Option<String>,
    launch_template_name: String,
    version_description: Option<String>,
    launch_template_data: Map<String, Value>,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// CreateLaunchTemplate: a create-if-absent, for a name belongs to one template.
pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Create = query::parse(parameters.clone())?;
    if let Some(token) = &request.client_token
        && let Some(known) = service
            .state
            .templates
            .iter()
            .find(|it| it.token.as_ref().is_some_and(|(t, _)| t == token))
    {
        if known.token.as_ref().is_some_and(|(_, before)| *before == parameters) {
            return Ok(json!({ "launchTemplate": known.answer(service) }));
        }
        let message =
            "The request uses the same client token as a previous, but non-identical request.";
        return Err(AwsError::new("IdempotentParameterMismatch", message));
    }
    check_name(&request.launch_template_name)?;
    if request.launch_template_data.is_empty() {
        let message = "The request must contain the parameter LaunchTemplateData";
        return Err(AwsError::new("MissingParameter", message));
    }
    if service.state.templates.iter().any(|template| template.name == request.launch_template_name)
    {
        return Err(AwsError::new(
            "InvalidLaunchTemplateName.AlreadyExistsException",
            "Launch template name already in use.",
        ));
    }
    let tags = tags::of_specifications(&request.tag_specification, "launch-template")?;
    let template = LaunchTemplate {
        id: service.ids.resource("lt"),
        name: request.launch_template_name,
        created: context.now,
        versions: vec![Version::new(
            context.now,
            request.version_description,
            request.launch_template_data,
            None,
        )],
        token: request.client_token.map(|token| (token, parameters)),
    };
    if !tags.is_empty() {
        service.state.tags.insert(template.id.clone(), tags);
    }
    let answer = template.answer(service);
    service.state.templates.push(template);
    Ok(json!({ "launchTemplate": answer }))
}

fn check_name(name: &str) -> Result<(), AwsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "().-/_".contains(c);
    if (3..=128).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let message = "Launch template names must be between 3 and 128 characters, and may contain \
                   letters, numbers, and the following characters: - ( ) . / _";
    Err(AwsError::new("InvalidLaunchTemplateName.MalformedException", message))
}

/// Requests and answers write the same things under other names: a request's `TagSpecification.1`
/// is an answer's `tagSpecificationSet`. The exceptions are those of EC2's API model.
pub(super) fn answer_form(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let of_interface = fields.contains_key("DeviceIndex")
                || fields.contains_key("AssociatePublicIpAddress");
            fields
                .into_iter()
                .map(|(name, value)| answer_field(&name, value, of_interface))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.into_iter().map(answer_form).collect(),
        leaf => leaf,
    }
}

fn answer_field(name: &str, value: Value, of_interface: bool) -> (String, Value) {
    if name == "SecurityGroupId" && of_interface {
        return ("groupSet".to_owned(), json!({ "#groupId": value }));
    }
    let answered = match (name, value.is_array()) {
        ("LicenseSpecification", true) => "licenseSet".to_owned(),
        (_, true) => format!("{}Set", decapitalized(name)),
        (_, false) => decapitalized(name),
    };
    (answered, answer_form(value))
}

fn decapitalized(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(rest).collect()
}

/// DescribeLaunchTemplates.
pub(super) fn describe(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "LaunchTemplateId")?;
    let names = query::take_list(&mut parameters, "LaunchTemplateName")?;
    let selection = Selection::read(parameters)?;
    for id in &ids {
        find_shown(service, context, Some(id), None)?;
    }
    for name in &names {
        find_shown(service, context, None, Some(name))?;
    }
    let mut found = Vec::new();
    for template in &service.state.templates {
        let all = ids.is_empty() && names.is_empty();
        let wanted = all || ids.contains(&template.id) || names.contains(&template.name);
        if wanted
            && template.is_shown(service, context.now)
            && selection
                .accepts(service.state.tags.get(&template.id), |name| template.field(name))?
        {
            found.push(template.answer(service));
        }
    }
    let (page, next) = selection.page(found, 1..=200)?;
    Ok(json!({ "launchTemplates": page, "nextToken": next }))
}

/// DeleteLaunchTemplate.
pub(super) fn delete(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let which = Which::take(&mut parameters)?;
    Selection::read(parameters)?;
    let template = which.find(service.state)?;
    let (id, answer) = (template.id.clone(), template.answer(service));
    service.state.templates.retain(|template| template.id != id);
    service.state.tags.remove(&id);
    Ok(json!({ "launchTemplate": answer }))
}

/// The template that a launch names, and the number of the version.
pub(super) fn to_launch<'a>(
    service: &'a Service<'_>,
    context: &Context,
    which: &Which,
    version: Option<&str>,
) -> Result<(&'a LaunchTemplate, usize), AwsError> {
    let template = which.find_shown(service, context)?;
    let number = template.number(version.unwrap_or("$Default"))?;
    Ok((template, number))
}

/// One template, by its id or its name.
pub(super) struct Which {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
}

impl Which {
    pub(super) fn take(parameters: &mut Value) -> Result<Self, AwsError> {
        let mut text = |name: &str| query::take(parameters, name).map(query::parse).transpose();
        Ok(Self { id: text("LaunchTemplateId")?, name: text("LaunchTemplateName")? })
    }

    /// The same for who only reads, and may not be shown it yet.
    pub(super) fn find_shown<'a>(
        &self,
        service: &'a Service<'_>,
        context: &Context,
    ) -> Result<&'a LaunchTemplate, AwsError> {
        self.find(service.state)?;
        find_shown(service, context, self.id.as_deref(), self.name.as_deref())
    }

    pub(super) fn find<'a>(&self, ec2: &'a Ec2) -> Result<&'a LaunchTemplate, AwsError> {
        match (&self.id, &self.name) {
            (None, None) => {
                let message = "Either a launch template ID or a launch template name must be \
                               specified in the request.";
                Err(AwsError::new("MissingParameter", message))
            }
            (Some(_), Some(_)) => {
                let message = "Only one of launch template ID and launch template name can be \
                               specified in the request.";
                Err(AwsError::new("InvalidParameterCombination", message))
            }
            (id, name) => find(ec2, id.as_deref(), name.as_deref()),
        }
    }
}

fn find<'a>(
    ec2: &'a Ec2,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<&'a LaunchTemplate, AwsError> {
    let matches = |it: &&LaunchTemplate| {
        id.is_none_or(|id| id == it.id) && name.is_none_or(|name| name == it.name)
    };
    ec2.templates.iter().find(matches).ok_or_else(|| not_found(id))
}

/// The id of the template that parameters name, and the data of the version that they name, or of
/// the first.
pub(super) fn asked(ec2: &Ec2, parameters: &Value) -> Option<(String, Value)> {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let which = Which {
        id: text("LaunchTemplateId").map(str::to_owned),
        name: text("LaunchTemplateName").map(str::to_owned),
    };
    let template = which.find(ec2).ok()?;
    let number: usize = text("Version").and_then(|version| version.parse().ok()).unwrap_or(1);
    let version = template.versions.get(number.checked_sub(1)?)?;
    Some((template.id.clone(), version.requested.clone()))
}

fn find_shown<'a>(
    service: &'a Service<'_>,
    context: &Context,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<&'a LaunchTemplate, AwsError> {
    let template = find(service.state, id, name)?;
    if template.is_shown(service, context.now) { Ok(template) } else { Err(not_found(id)) }
}

fn not_found(id: Option<&str>) -> AwsError {
    match id {
        Some(id) => AwsError::new(
            "InvalidLaunchTemplateId.NotFound",
            format!("The specified launch template, with template ID {id}, does not exist."),
        ),
        None => AwsError::new(
            "InvalidLaunchTemplateName.NotFoundException",
            "At least one of the launch templates specified in the request does not exist.",
        ),
    }
}

/// The templates' owner as answers write it.
pub(super) fn creator(service: &Service<'_>) -> String {
    format!("arn:aws:iam::{}:user/example", service.options.account)
}

impl LaunchTemplate {
    /// The number of a version that is named by it, or by what it is.
    pub(super) fn number(&self, version: &str) -> Result<usize, AwsError> {
        let number = match version {
            "$Default" => Some(1),
            "$Latest" => Some(self.versions.len()),
            number => number.parse().ok(),
        };
        if let Some(number) = number.filter(|number| (1..=self.versions.len()).contains(number)) {
            return Ok(number);
        }
        let message = format!("Could not find launch template version {version} for {}.", self.id);
        Err(AwsError::new("InvalidLaunchTemplateId.VersionNotFound", message))
    }

    fn is_shown(&self, service: &Service<'_>, now: Timestamp) -> bool {
        now >= self.created + millis(service.options.pace.template_ms)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn answer(&self, service: &Service<'_>) -> Value {
        json!({
            "launchTemplateId": self.id,
            "launchTemplateName": self.name,
            "createTime": time(self.created),
            "createdBy": creator(service),
            "defaultVersionNumber": 1,
            "latestVersionNumber": self.versions.len(),
            "tagSet": tags::answer(service.state.tags.get(&self.id)),
        })
    }

    fn field(&self, name: &str) -> Option<Vec<String>> {
        match name {
            "launch-template-name" => Some(vec![self.name.clone()]),
            "create-time" => Some(vec![time(self.created)]),
            _ => None,
        }
    }
}
