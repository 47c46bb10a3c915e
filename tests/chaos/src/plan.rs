//! What a seed means: the block, its jobs, and everything that goes wrong with them.

use std::time::Duration;

use fastrand::Rng;
use harness::Kill;
use jiff::SignedDuration;
use localcloud_core::Options;
use localcloud_core::protocol::options::SpotBlock;

use crate::host::{Ill, Lie};
use crate::other::{self, Other};
use crate::trouble::{Caller, Kind};

mod company;

/// The file of every block, before its own numbers.
const CONFIG: &str = include_str!("../../e2e/fixtures/spot-block-test.toml");

/// A whole block.
#[derive(Debug)]
pub struct Plan {
    /// How the cloud behaves.
    pub options: Options,
    /// spotblock.toml.
    pub config: String,
    /// How many instances are wanted.
    pub instances: usize,
    /// How long the block is by its settings.
    pub length: SignedDuration,
    /// How long it lasts from its launch on.
    pub lasts: Duration,
    /// How long before its end no job is taken any more.
    pub drain_lead: Duration,
    /// How long before its end jobs are stopped.
    pub stop_lead: Duration,
    /// The jobs, and when they are submitted, from the time on at which there is a queue.
    pub jobs: Vec<(Duration, Job)>,
    /// Whether the environment has schedules.
    pub schedules: bool,
    /// What goes wrong, and when, from the first launch on.
    pub blows: Vec<(Duration, Blow)>,
    /// Where agents' processes are killed, by host: at which call, and whether before it.
    pub kills: Vec<(usize, Vec<(u32, bool)>)>,
    /// Where the runs of `up` are killed that come before the one that may finish.
    pub ups: Vec<Kill>,
    /// The same of `down`.
    pub downs: Vec<Kill>,
    /// Somebody runs `drain` or `down` before the block's end, so long after its instances have
    /// joined.
    pub early: Option<(Duration, &'static str)>,
    /// What somebody runs meanwhile.
    pub others: Vec<Other>,
    /// How often somebody runs `reap`.
    pub reaps: Option<Duration>,
    /// Whether `reap` comes before the last `down`, and has to leave nothing.
    pub reaped: bool,
    /// Whether there is a second block for the jobs that waited.
    pub again: bool,
    /// How many of a hundred calls of the provisioner go wrong, and how.
    pub clumsy: Option<(u8, Kind)>,
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// How long it runs.
    pub seconds: u64,
    /// What it does on SIGTERM.
    pub on_term: &'static str,
    /// Whether it is retried whatever the reason; otherwise by the rules of its definition.
    pub plain_retry: bool,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Blow {
    /// AWS takes the host in so many seconds.
    Notice(usize, i64),
    /// The host is gone.
    Vanish(usize),
    /// The host crashes and is back after so many seconds.
    Reboot(usize, i64),
    /// The agent's process is killed; whether its state is lost, and after how many seconds it is
    /// started again.
    KillAgent(usize, bool, i64),
    /// Something is wrong with the host for so many seconds.
    Ill(usize, Ill, i64),
    /// The host's wall clock is set by so many seconds.
    Clock(usize, i64),
    /// Somebody sets the instance DRAINING, or ACTIVE.
    SetStatus(usize, &'static str),
    /// AWS recommends to leave.
    Rebalance(usize),
    /// The agent and the power-off timer fail for good.
    Stuck(usize),
    /// Somebody shuts the host down, or reboots it so that it is back after so many seconds.
    GoesDown(usize, Option<i64>),
    /// AWS announces an event that ends the host after so many seconds.
    Maintenance(usize, i64),
    /// Calls go wrong for so many seconds: whose, of which service, how many of a hundred, how.
    Trouble(Caller, Option<&'static str>, i64, u8, Kind),
}

/// A family of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AWS takes hosts.
    Taken,
    /// Hosts crash.
    Crash,
    /// Agents' processes are killed.
    Agent,
    /// IMDS, introspection, disks and commands fail.
    Ill,
    /// Wall clocks are set.
    Clock,
    /// Somebody else sets statuses, or AWS recommends to leave.
    Meddling,
    /// Calls of instances go wrong now and then.
    Flaky,
    /// ECS can't be reached, around the block's end.
    Outage,
    /// The provisioner is killed, and its calls go wrong.
    Provisioner,
    /// Everything takes its time.
    Slow,
    /// Somebody extends the block.
    Extended,
    /// Somebody runs `reap` now and then.
    Reaped,
    /// Somebody else runs `up` or `down` beside `up`.
    Beside,
    /// Nothing on a host ends it.
    Outlived,
    /// Hosts go down for another reason.
    Down,
    /// AWS announces scheduled events.
    Maintenance,
    /// IMDS lies.
    Lies,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Taken,
        Self::Crash,
        Self::Agent,
        Self::Ill,
        Self::Clock,
        Self::Meddling,
        Self::Flaky,
        Self::Outage,
        Self::Provisioner,
        Self::Slow,
        Self::Extended,
        Self::Reaped,
        Self::Beside,
        Self::Outlived,
        Self::Down,
        Self::Maintenance,
        Self::Lies,
    ];
}

impl Plan {
    /// What this seed means.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut plan = Self::calm(seed, &mut dice);
        // Some blocks are left alone: what the faults do is seen beside them.
        let mut families = Family::ALL;
        dice.shuffle(&mut families);
        for family in &families[..dice.usize(0..5)] {
            plan.suffer(*family, &mut dice);
        }
        if dice.u8(0..5) == 0 {
            let at = plan.lasts.mul_f64(dice.f64());
            plan.early = Some((at, if dice.bool() { "down" } else { "drain" }));
        }
        plan.again = dice.u8(0..5) == 0;
        plan.blows.sort_by_key(|(at, _)| *at);
        plan
    }

    fn calm(seed: u64, dice: &mut Rng) -> Self {
        let instances = dice.usize(1..=6);
        // A few last their whole hour; the others are dated back, to see more ends for the same
        // money.
        let whole = dice.u8(0..20) == 0;
        let lasts = if whole {
            Duration::from_secs(3_600)
        } else {
            Duration::from_secs(dice.u64(360..=1_200))
        };
        let stop_lead = dice.u64(60..=180);
        let drain_lead = dice.u64(stop_lead..=(lasts.as_secs() / 2).max(stop_lead));
        let mut options = Options { seed, light_nodes_above: u32::MAX, ..Options::default() };
        options.block_ends_in = (!whole).then(|| signed(lasts));
        let sources = match dice.u8(0..8) {
            0 | 1 => "\"spot-block\"",
            2 => "\"spot\"",
            3 => "\"on-demand\"",
            4 => "\"spot-block\", \"spot\"",
            5 => "\"reservation\"",
            6 => "\"capacity-block\"",
            _ => "\"spot-block\", \"spot\", \"on-demand\"",
        };
        if sources.contains(',') {
            options.spot_block = SpotBlock::Refuse;
        }
        if sources.ends_with(", \"on-demand\"") {
            options.capacity.insert("*/*/spot".to_owned(), 0);
        }
        let config = CONFIG
            .replace("instances = 1", &format!("instances = {instances}"))
            .replace("sources = [\"spot-block\"]", &format!("sources = [{sources}]"))
            .replace("\"t2.micro\"", "\"c5.large\"")
            .replace("max-price = 0.03", "max-price = 0.5");
        let (config, hours) = match sources {
            "\"capacity-block\"" => (company::in_capacity_block(&config), 24),
            _ => (config, 1),
        };
        // With a given profile, or a role that is made, whose policy the local cloud holds the
        // agents to.
        let given =
            if seed.is_multiple_of(2) { "instance-profile = \"ecsInstanceRole\"\n" } else { "" };
        let config = config.replace("instance-profile = \"ecsInstanceRole\"\n", given);
        let config = format!(
            "{config}\n[agent]\ndrain-lead = \"{drain_lead}s\"\nstop-lead = \"{stop_lead}s\"\n"
        );
        let count = dice.usize(1..=4 * instances);
        let jobs = (0..count).map(|_| job(dice, lasts)).collect();
        Self {
            options,
            config,
            instances,
            length: SignedDuration::from_hours(hours),
            lasts,
            drain_lead: Duration::from_secs(drain_lead),
            stop_lead: Duration::from_secs(stop_lead),
            jobs,
            schedules: true,
            blows: Vec::new(),
            kills: Vec::new(),
            ups: Vec::new(),
            downs: Vec::new(),
            early: None,
            others: Vec::new(),
            reaps: None,
            reaped: false,
            again: false,
            clumsy: None,
        }
    }

    /// Some moment of the block, and for a third of them one around its drain and stop.
    fn moment(&self, dice: &mut Rng) -> Duration {
        let lasts = self.lasts.as_millis().try_into().unwrap_or(u64::MAX);
        let stop = self.stop_lead.as_millis().try_into().unwrap_or(u64::MAX);
        let from = if dice.u8(0..3) == 0 { lasts.saturating_sub(2 * stop) } else { 0 };
        Duration::from_millis(dice.u64(from..=lasts))
    }

    fn host(&self, dice: &mut Rng) -> usize {
        dice.usize(0..self.instances)
    }

    fn suffer(&mut self, family: Family, dice: &mut Rng) {
        let count = dice.usize(1..=3);
        for _ in 0..count {
            let (at, host) = (self.moment(dice), self.host(dice));
            match family {
                Family::Taken if dice.u8(0..4) == 0 => self.blows.push((at, Blow::Vanish(host))),
                Family::Taken => self.blows.push((at, Blow::Notice(host, 120))),
                Family::Crash => self.blows.push((at, Blow::Reboot(host, dice.i64(10..=60)))),
                Family::Agent if dice.bool() => {
                    let points =
                        (0..dice.usize(1..=3)).map(|_| (dice.u32(1..=600), dice.bool())).collect();
                    self.kills.push((host, points));
                }
                Family::Agent => {
                    self.blows
                        .push((at, Blow::KillAgent(host, dice.u8(0..3) == 0, dice.i64(1..=10))));
                }
                Family::Ill => {
                    let ills = [
                        Ill::ImdsFails,
                        Ill::ImdsHangs,
                        Ill::Introspection,
                        Ill::Disk,
                        Ill::Commands,
                        Ill::CommandsHang,
                    ];
                    let ill = ills[dice.usize(0..ills.len())];
                    let longest =
                        if matches!(ill, Ill::Commands | Ill::CommandsHang) { 10 } else { 30 };
                    let at = if dice.u8(0..3) == 0 { Duration::ZERO } else { at };
                    self.blows.push((at, Blow::Ill(host, ill, dice.i64(1..=longest))));
                }
                Family::Clock => {
                    self.blows.push((at, Blow::Clock(host, dice.i64(-10_800..=10_800))))
                }
                Family::Meddling => {
                    let blow = match dice.u8(0..4) {
                        0 => Blow::Rebalance(host),
                        1 => Blow::SetStatus(host, "ACTIVE"),
                        _ => Blow::SetStatus(host, "DRAINING"),
                    };
                    self.blows.push((at, blow));
                }
                Family::Flaky => {
                    let kinds =
                        [Kind::Failure, Kind::Throttle, Kind::LostAnswer, Kind::Slow, Kind::Refuse];
                    let kind = kinds[dice.usize(0..kinds.len())];
                    let (long, percent) = (dice.i64(30..=900), dice.u8(10..=60));
                    self.blows
                        .push((at, Blow::Trouble(Caller::Instance, None, long, percent, kind)));
                }
                Family::Outlived => self.blows.push((at, Blow::Stuck(host))),
                Family::Down => {
                    let back = dice.bool().then(|| dice.i64(20..=60));
                    self.blows.push((at, Blow::GoesDown(host, back)));
                }
                Family::Lies => {
                    let lie = Lie::ALL[dice.usize(0..Lie::ALL.len())];
                    // What is asked for at the boot only is a lie from there on.
                    let (at, long) = if lie.is_of_boot() {
                        (Duration::ZERO, 60)
                    } else {
                        (at, dice.i64(5..=120))
                    };
                    self.blows.push((at, Blow::Ill(host, Ill::Lies(lie), long)));
                }
                Family::Maintenance => {
                    // It is looked for every half a minute, and AWS is never that late with it.
                    let soonest = self.stop_lead.as_secs().cast_signed() + 60;
                    self.blows
                        .push((at, Blow::Maintenance(host, dice.i64(soonest..=soonest + 600))));
                }
                Family::Outage | Family::Provisioner | Family::Slow => {}
                Family::Extended | Family::Reaped | Family::Beside => {}
            }
        }
        match family {
            Family::Outage => {
                // An hour in which nobody can join buys one block after the other, and shows
                // nothing of their ends.
                let before = self.lasts.mul_f64(dice.f64() * 0.6);
                let kinds = [Kind::Refuse, Kind::Hang, Kind::Failure];
                let kind = kinds[dice.usize(0..kinds.len())];
                self.blows.push((
                    self.lasts - before,
                    Blow::Trouble(Caller::Instance, None, 3_600, 100, kind),
                ));
            }
            Family::Provisioner => self.provisioner(dice),
            Family::Slow => self.slow(dice),
            Family::Extended => self.extended(dice),
            Family::Reaped => self.reaped(dice),
            Family::Beside => self.beside(dice),
            Family::Outlived => self.outlived(dice),
            _ => {}
        }
    }

    fn provisioner(&mut self, dice: &mut Rng) {
        self.ups = (0..dice.usize(0..=2)).map(|_| other::killed(dice, 50)).collect();
        self.downs = (0..dice.usize(0..=2)).map(|_| other::killed(dice, 20)).collect();
        let kinds = [Kind::Failure, Kind::Throttle, Kind::LostAnswer, Kind::Slow];
        self.clumsy = dice.bool().then(|| (dice.u8(5..=25), kinds[dice.usize(0..kinds.len())]));
    }

    fn slow(&mut self, dice: &mut Rng) {
        let pace = &mut self.options.pace;
        pace.consistency_ms = dice.u64(0..=20_000);
        pace.template_ms = dice.u64(0..=10_000);
        pace.instance_shown_ms = dice.u64(0..=10_000);
        pace.placement_ms = dice.u64(100..=8_000);
        pace.delivery_ms = dice.u64(50..=4_000);
        pace.report_ms = dice.u64(100..=15_000);
        pace.host_loss_ms = dice.u64(3_000..=600_000);
        pace.ecs_start_ms = dice.u64(100..=20_000);
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Its length is heavy-tailed: most are short, and some outlast the block.
fn job(dice: &mut Rng, lasts: Duration) -> (Duration, Job) {
    let long = 8.0 / (1.0 - dice.f64()).powf(1.2);
    let seconds = Duration::from_secs_f64(long.min(2.0 * lasts.as_secs_f64())).as_secs();
    let on_term = ["", "exit:1", "exit:143", "ignore"][dice.usize(0..4)];
    let at = if dice.bool() {
        Duration::ZERO
    } else {
        Duration::from_secs(dice.u64(0..=lasts.as_secs()))
    };
    (at, Job { seconds, on_term, plain_retry: dice.bool() })
}
