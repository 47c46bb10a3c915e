//! `up` asks before it makes, changes or buys anything.

use localcloud_core::Options;

use super::{World, example_with};

fn shows_the_plan(stderr: &str) {
    for part in ["+ create  1", "+ create  8     block", "at worst $0.03", "if launched now:"] {
        assert!(stderr.contains(part), "{part:?} is missing in {stderr}");
    }
}

/// Catches: a script that buys what nobody has looked at.
#[tokio::test(start_paused = true)]
async fn without_a_terminal_and_without_yes_it_refuses_before_any_change() {
    let world = World::new(Options::default()).asking(None);
    let run = world.run(&["up"]).await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    shows_the_plan(&run.stderr);
    assert!(
        run.stderr.contains("error: `up` asks before it makes, changes or buys anything"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("next: nothing was changed: give --yes"), "{}", run.stderr);
    assert_eq!(world.changing(0), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_a_yes_is_a_yes() {
    for answer in ["", "n", "no", "yess", "ja"] {
        let world = World::new(Options::default()).asking(Some(answer));
        let run = world.run(&["up"]).await;
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{answer:?}: {}", run.stderr);
        shows_the_plan(&run.stderr);
        assert!(
            run.stderr.ends_with("nothing was made, changed or bought\n"),
            "{answer:?}: {}",
            run.stderr
        );
        assert_eq!(world.changing(0), [""; 0], "{answer:?}");
    }
    for answer in ["y", "Yes", " yes "] {
        let world = World::new(Options::default()).asking(Some(answer));
        let run = world.run(&["up"]).await;
        assert_eq!(run.code, 0, "{answer:?}: {}", run.stderr);
        let asked = run.stderr.find("Do all this?").expect("a question");
        assert!(run.stderr.find("recorded block").is_some_and(|at| at > asked), "{}", run.stderr);
        assert_eq!(world.alive(), 1);
    }
}

/// Catches: a user who is told to end a block that was never begun.
#[tokio::test(start_paused = true)]
async fn a_ctrl_c_at_the_question_is_a_no() {
    let world = World::new(Options::default()).asking(Some(super::SILENCE));
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let (run, _) = tokio::join!(world.run_with(&["up"], None, receiver), async {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        sender.send(())
    });
    let run = run.expect("it is not killed");
    assert_eq!(run.code, 130, "{}", run.stderr);
    let end = "error: interrupted\n  next: nothing was made, changed or bought\n";
    assert!(run.stderr.ends_with(end) && !run.stderr.contains("stopping"), "{}", run.stderr);
    assert_eq!(world.changing(0), [""; 0]);
}

/// Catches: a cron job that looks after a block and is stopped by a question about nothing.
#[tokio::test(start_paused = true)]
async fn where_nothing_is_to_be_done_nobody_is_asked() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let world = world.asking(None);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("continuing block"), "{}", run.stderr);
    let before = world.calls();
    assert_eq!(
        world.run(&["up", "--new"]).await.code,
        2,
        "another block is bought only with a yes"
    );
    assert_eq!(world.changing(before), [""; 0]);
}

/// Catches: a purchase without a question because its record was there already.
#[tokio::test(start_paused = true)]
async fn a_block_that_is_not_complete_is_bought_only_with_a_yes() {
    let world = World::new(Options::default());
    let recorded = world.clone();
    let up = recorded.run_until(&["up"], Some(super::Kill::Before(usize::MAX))).await;
    assert!(up.is_some());
    // Killed right before the purchase.
    let nth = world
        .operations_of_users()
        .iter()
        .position(|name| name == "RequestSpotInstances")
        .expect("a purchase")
        + 1;
    let world = World::new(Options::default());
    assert!(world.run_until(&["up"], Some(super::Kill::Before(nth))).await.is_none());
    assert_eq!(world.launched().len(), 0);
    let asking = world.clone().asking(None);
    let run = asking.run(&["up"]).await;
    assert_eq!((run.code, world.launched().len()), (2, 0), "{}", run.stderr);
    assert!(
        run.stderr.contains("was begun and is not complete: what it lacks is bought"),
        "{}",
        run.stderr
    );
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.launched().len(), 1);
}

/// Catches: an environment that is made for a block that the limit forbids.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_bought_is_refused_before_the_question() {
    let config = example_with("instances = 1", "instances = 1\nmax-cost = 0.01");
    let world = World::with_config(Options::default(), &config).asking(Some("yes"));
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(
        run.stderr.contains("could cost up to $0.03") && !run.stderr.contains("Do all this?"),
        "{}",
        run.stderr
    );
    assert_eq!(world.changing(0), [""; 0]);
}
