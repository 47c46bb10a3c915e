//! `spotblock doctor`: gathers the facts, and prints what `doctor.rs` makes of them.

use crate::args;
use crate::block;
use crate::desired::Desired;
use crate::doctor::{self, Finding, Surroundings};
use crate::error::{Error, Result};
use crate::session::Session;

use super::jobs;

/// How many waiting jobs are looked at when nothing is named: they wait for the same, mostly.
const MOST_JOBS: usize = 5;

/// Runs it.
///
/// # Errors
/// When what is named isn't there, or a call fails.
pub async fn run(session: &Session<'_>, args: &args::Doctor) -> Result<u8> {
    let facts = gather(session).await?;
    let found = match args.about.as_deref() {
        Some(id) if id.starts_with("i-") => {
            let instance = facts.instances.iter().find(|it| it.id == id).ok_or_else(|| unknown(session, id))?;
            doctor::instance(&facts, instance).into_iter().collect()
        }
        Some(job) => doctor::job(&facts, &jobs::find(session, job).await?),
        None => everything(session, &facts).await?,
    };
    session.ui.result(&found, |found| text(found, args.about.as_deref()))?;
    Ok(0)
}

fn unknown(session: &Session<'_>, id: &str) -> Error {
    Error::Usage {
        what: format!("instance {id} is in no block of environment {}, or was forgotten by EC2", session.environment()),
        next: "`spotblock status` lists the blocks' instances".to_owned(),
    }
}

async fn gather(session: &Session<'_>) -> Result<Surroundings> {
    let (aws, settings) = (session.aws, &session.settings.environment);
    let environment = aws.batch.environment(&settings.name).await?;
    let hosts = match environment.as_ref().map(|it| it.cluster.as_str()).filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => aws.ecs.hosts(cluster).await?,
        None => Vec::new(),
    };
    let blocks = block::all(aws, &settings.name).await?;
    let instances: Vec<_> = blocks.into_iter().flat_map(|block| block.instances).collect();
    let missing = |host_of: &crate::aws::ec2::Instance| hosts.iter().all(|host| host.instance != host_of.id);
    // What only explains an instance that is missing is asked only when one is.
    let (mut in_default, mut profile) = (Vec::new(), None);
    if instances.iter().any(|it| it.is_up() && missing(it)) {
        in_default = aws.ecs.hosts("default").await?;
        let desired = Desired::new(session.settings);
        profile = aws.iam.profile(desired.profile.name()).await?.map(|it| (it.name, !it.roles.is_empty()));
    }
    Ok(Surroundings {
        name: settings.name.clone(),
        queue_name: settings.queue.clone(),
        environment,
        queue: aws.batch.queue(&settings.queue).await?,
        hosts,
        in_default,
        instances,
        profile,
        now: session.now(),
    })
}

async fn everything(session: &Session<'_>, facts: &Surroundings) -> Result<Vec<Finding>> {
    let mut found = doctor::surroundings(facts);
    found.extend(facts.instances.iter().filter(|it| it.is_up()).filter_map(|it| doctor::instance(facts, it)));
    if facts.queue.is_some() {
        for state in ["PENDING", "RUNNABLE"] {
            let ids = session.aws.batch.jobs_in_state(&facts.queue_name, state, MOST_JOBS).await?;
            for job in session.aws.batch.jobs(&ids).await? {
                found.extend(doctor::job(facts, &job));
            }
        }
    }
    let mut told = Vec::new();
    found.retain(|it| {
        let new = !told.contains(it);
        told.push(it.clone());
        new
    });
    Ok(found)
}

fn text(found: &[Finding], about: Option<&str>) -> String {
    if found.is_empty() {
        return format!("nothing is wrong with {}", about.unwrap_or("the environment, its instances and its queue"));
    }
    let one =
        |it: &Finding| format!("{}: {}\n  because: {}\n  next:    {}", it.about, it.finding, it.evidence, it.next);
    found.iter().map(one).collect::<Vec<_>>().join("\n")
}
