//! The provisioner's real program: its command line, its SDK code, and everything between them, on
//! simulated time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use harness::{Answered, Call, Ended, Kill, Network, Program};
use jiff::Timestamp;
use localcloud_core::Request;

use crate::mutant::{self, Mutant};
use crate::trouble::{Caller, Kind};
use crate::world::World;

/// What befalls a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mishap {
    /// Where it is killed.
    pub kill: Option<Kill>,
    /// How many of a hundred of its calls go wrong, and how.
    pub trouble: Option<(u8, Kind)>,
}

/// What a run left.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its command line.
    pub words: Vec<String>,
    /// Its exit code; `None` when it was killed.
    pub code: Option<u8>,
    /// Its result.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// What it changed at AWS, in order.
    pub changes: Vec<Change>,
}

/// A call that changes something, and that AWS took or may have taken.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The operation, as far as the request tells it: EC2's action, or a method and a path.
    pub operation: String,
    /// The request's body.
    pub body: String,
}

/// Runs a command to its end, or until it is killed.
///
/// # Panics
/// When the command line is none.
pub async fn run(
    world: &Arc<World>,
    config: &Path,
    words: &[&str],
    mishap: Mishap,
    seed: u64,
) -> Run {
    let (command, rest) = words.split_first().unwrap_or((&"status", &[]));
    let config = config.to_string_lossy();
    let all = [&[*command, "--config", &config][..], rest].concat();
    let changes = Arc::<Mutex<Vec<Change>>>::default();
    let wire = Wire {
        world: Arc::clone(world),
        command: (*command).to_owned(),
        now: words.contains(&"--now"),
        seed,
        trouble: mishap.trouble,
        dice: Arc::new(Mutex::new(Rng::with_seed(seed))),
        changes: Arc::clone(&changes),
    };
    let program = Program::new(wire, mutant::clock(world, command), seed, mishap.kill);
    let Ended { code, stdout, stderr } = program.run(&all).await;
    world.note(format!(
        "spotblock {}: {}",
        words.join(" "),
        code.map_or("killed".to_owned(), |code| code.to_string())
    ));
    let changes = std::mem::take(&mut *changes.lock().unwrap_or_else(PoisonError::into_inner));
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let run = Run { words, code, stdout, stderr, changes };
    world.state().runs.push(run.clone());
    run
}

/// What lies between a run and the world's cloud.
#[derive(Clone)]
struct Wire {
    world: Arc<World>,
    command: String,
    now: bool,
    seed: u64,
    /// How many of a hundred calls go wrong, and how.
    trouble: Option<(u8, Kind)>,
    dice: Arc<Mutex<Rng>>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl Wire {
    /// `--now` asks for what is a broken promise otherwise.
    fn at_once(&self, request: &Request) {
        let body = String::from_utf8_lossy(&request.body);
        if self.now && body.starts_with("Action=TerminateInstances") {
            let mut state = self.world.state();
            let named = state.hosts.iter_mut().filter(|host| body.contains(host.instance.as_str()));
            named.for_each(|host| host.at_once = true);
        }
    }

    fn trouble(&self) -> Option<Kind> {
        let (percent, kind) = self.trouble?;
        let hit = self.dice.lock().unwrap_or_else(PoisonError::into_inner).u8(0..100) < percent;
        hit.then_some(kind)
    }

    fn note(&self, request: &Request, taken: bool) {
        let body = String::from_utf8_lossy(&request.body);
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        let operation =
            action.map_or_else(|| format!("{} {}", request.method, request.path), str::to_owned);
        let reads =
            ["Describe", "Get", "List", "Simulate", "GET ", "POST /v1/describe", "POST /v1/list"];
        if taken
            && request.service() != "ecs"
            && !reads.iter().any(|read| operation.starts_with(read))
        {
            let change = Change { at: self.world.now(), operation, body: body.into_owned() };
            self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }
}

impl Network for Wire {
    async fn answer(self, call: Call, request: Request) -> Answered {
        let request = mutant::spoilt(self.world.mutant, self.seed, request);
        call.before().await;
        if let Some(told) = mutant::swallows(self.world.mutant, &self.command, &request) {
            return Ok(told);
        }
        self.at_once(&request);
        let answer = match self.trouble() {
            Some(kind) => self.world.spoiled(Caller::User, &request, Some(kind)).await,
            None => self.world.request(Caller::User, &request).await,
        };
        // Where the answer is lost it may have been taken.
        self.note(&request, answer.as_ref().map_or(true, |response| response.status < 300));
        let twice = if self.world.mutant == Some(Mutant::BuysTwice) {
            mutant::again(&request.body)
        } else {
            None
        };
        if let Some(body) = twice {
            let _ = self.world.request(Caller::User, &Request { body, ..request }).await;
        }
        call.after().await;
        answer
    }
}
