//! A run that stands still at one of its calls while others go on, as a suspended process does: its
//! timers, too.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use harness::Kill;
use tokio::sync::watch;

use super::{Run, World};

/// Where a run is in its pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ahead,
    On,
    Over,
}

/// The one pause of a run; its clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    at: Option<Kill>,
    stage: Arc<watch::Sender<Stage>>,
}

impl Pause {
    /// At this call.
    pub(super) fn before_or_after(at: Option<Kill>) -> Self {
        Self { at, stage: Arc::new(watch::Sender::new(Stage::Ahead)) }
    }

    /// Stands still if it is here.
    pub(super) async fn at(&self, here: Kill) {
        if self.at == Some(here) && *self.stage.borrow() == Stage::Ahead {
            self.stage.send_replace(Stage::On);
            self.reached(Stage::Over).await;
        }
    }

    async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        stages.wait_for(|now| *now == stage).await.expect("the pause lives as long as its run");
    }
}

impl AsyncSleep for Pause {
    /// A timer that would ring in the pause begins anew after it.
    fn sleep(&self, duration: Duration) -> Sleep {
        let pause = self.clone();
        Sleep::new(async move {
            tokio::time::sleep(duration).await;
            if *pause.stage.borrow() == Stage::On {
                pause.reached(Stage::Over).await;
                tokio::time::sleep(duration).await;
            }
        })
    }
}

impl World {
    /// Runs a command that stands still at this call until `meanwhile` is done. Gives what both
    /// came to; of the second nothing where the run had ended before that call.
    pub(super) async fn run_paused<T>(
        &self,
        arguments: &[&str],
        at: Kill,
        meanwhile: impl Future<Output = T>,
    ) -> (Run, Option<T>) {
        let pause = Pause::before_or_after(Some(at));
        let (over, ended) = (pause.clone(), watch::Sender::new(false));
        let run = async {
            let run = self.run_with_pause(arguments, pause).await;
            ended.send_replace(true);
            run
        };
        let other = async {
            let mut done = ended.subscribe();
            tokio::select! {
                biased;
                () = over.reached(Stage::On) => {}
                _ = done.wait_for(|done| *done) => return None,
            }
            let outcome = meanwhile.await;
            over.stage.send_replace(Stage::Over);
            Some(outcome)
        };
        tokio::join!(run, other)
    }
}
