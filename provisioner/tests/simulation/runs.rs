//! Runs of the program in a world.

use std::sync::atomic::Ordering;

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use harness::{Answered, Call, Kill, LATENCY, Network, Program, Unanswered, account, deliver};
use localcloud_core::Request;
use spotblock::Answers;
use tokio::sync::mpsc::UnboundedReceiver;

use super::World;
use super::head::Head;
use super::pause::Pause;

/// Instead of an answer: nobody is there.
pub(super) const NOBODY: &str = "\0";

/// Instead of an answer: somebody is there and says nothing.
pub(crate) const SILENCE: &str = "\x01";

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        self.run_until(arguments, None).await.expect("it is not killed")
    }

    /// Runs a command; `None` when it was killed.
    pub(crate) async fn run_until(&self, arguments: &[&str], kill: Option<Kill>) -> Option<Run> {
        self.start(arguments, kill, None, Pause::before_or_after(None)).await
    }

    pub(super) async fn run_with_pause(&self, arguments: &[&str], pause: Pause) -> Run {
        self.start(arguments, None, None, pause).await.expect("it is not killed")
    }

    /// The same with somebody who may interrupt it.
    pub(crate) async fn run_with(
        &self,
        arguments: &[&str],
        kill: Option<Kill>,
        interrupts: UnboundedReceiver<()>,
    ) -> Option<Run> {
        self.start(arguments, kill, Some(interrupts), Pause::before_or_after(None)).await
    }

    async fn start(
        &self,
        arguments: &[&str],
        kill: Option<Kill>,
        interrupts: Option<UnboundedReceiver<()>>,
        pause: Pause,
    ) -> Option<Run> {
        let config = self.config.path().to_str().expect("a path");
        let (command, rest) = arguments.split_first().expect("a command");
        let own = if rest.contains(&"--config") { &[][..] } else { &["--config", config] };
        let yes = if *command == "up" && self.asks.is_none() { &["--yes"][..] } else { &[] };
        let mut program = self.program(kill, pause);
        if let Some(interrupts) = interrupts {
            program.ports.interrupts = interrupts;
        }
        let ended = program.run(&[&[*command], own, yes, rest].concat()).await;
        self.printed.lock().expect("not poisoned").clone_from(&ended.stdout);
        Some(Run { code: ended.code?, stdout: ended.stdout, stderr: ended.stderr })
    }

    fn program(&self, kill: Option<Kill>, pause: Pause) -> Program {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        let core = Core { world: self.clone(), pause: pause.clone() };
        let mut program = Program::new(core, self.time, seed, kill);
        program.ports.connection.sleep = SharedAsyncSleep::new(pause);
        program.ports.stdout = Box::new(Head { left: self.reads, to: program.stdout.clone() });
        program.ports.terminal = self.terminal;
        program.ports.answers = self.asks.and_then(answers);
        if let Some(credentials) = &self.credentials {
            program.ports.connection.account = account(credentials.clone());
        }
        program
    }
}

/// Somebody who always says the same.
fn answers(answer: &'static str) -> Option<Answers> {
    let answers: Answers = Box::new(move || match answer {
        SILENCE => Box::pin(std::future::pending()),
        _ => Box::pin(std::future::ready(answer.to_owned())),
    });
    Some(answers).filter(|_| answer != NOBODY)
}

/// The world's cloud, as a run reaches it.
#[derive(Clone)]
struct Core {
    world: World,
    pause: Pause,
}

impl Network for Core {
    async fn answer(self, call: Call, request: Request) -> Answered {
        call.before().await;
        self.pause.at(Kill::Before(call.nth())).await;
        tokio::time::sleep(LATENCY).await;
        let now = self.world.now();
        if self.world.state().unreachable {
            return Err(Unanswered::Refused);
        }
        let answer = self.world.state().answer(&request, now);
        call.after().await;
        self.pause.at(Kill::After(call.nth())).await;
        deliver(answer).await
    }
}
