//! The queue and the blocks.

use crate::host::{Ended, Host};
use crate::policy::Policy;
use crate::stream::Job;

/// How often a job is tried: `init`'s own setting.
const ATTEMPTS: u32 = 3;

/// An instance joins after so many seconds at the earliest and at the latest.
const SHORTEST_JOIN: i64 = 60;
pub(crate) const LONGEST_JOIN: i64 = 120;

/// The blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How many, one after the other.
    pub(crate) blocks: u32,
    /// Instances in each.
    pub(crate) instances: u32,
    /// Virtual processors of each instance.
    pub(crate) vcpus: u32,
    /// How long each block lasts, in seconds.
    pub(crate) secs: i64,
}

/// What became of it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Paid, in seconds of virtual processors.
    paid: i64,
    /// Finished jobs' time, in the same.
    useful: i64,
    /// Finished jobs.
    pub(crate) finished: u64,
    /// Attempts that the agent stopped.
    pub(crate) stopped: u64,
    /// Attempts that were cut off with their host.
    pub(crate) unwarned: u64,
    /// Jobs whose attempts are used up.
    pub(crate) lost: u64,
}

impl Outcome {
    /// The share of what was paid that ended in finished jobs.
    pub(crate) fn goodput(&self) -> f64 {
        self.useful as f64 / self.paid.max(1) as f64
    }
}

/// A stream of jobs through blocks.
pub(crate) fn run(terms: &Terms, policy: Policy, jobs: &[Job]) -> Outcome {
    let mut world = World::new(terms, policy, jobs);
    for now in 0..=i64::from(terms.blocks) * terms.secs {
        world.second(now);
    }
    for host in &world.hosts {
        let gone = host.gone.unwrap_or(i64::from(terms.blocks) * terms.secs);
        world.outcome.paid += (gone - host.launched) * i64::from(terms.vcpus);
    }
    world.outcome
}

struct World<'a> {
    terms: &'a Terms,
    policy: Policy,
    jobs: &'a [Job],
    hosts: Vec<Host>,
    /// How many jobs have been submitted; they come in order.
    submitted: usize,
    /// The jobs that wait, in their order.
    waiting: Vec<usize>,
    attempts: Vec<u32>,
    placed: u64,
    outcome: Outcome,
}

impl<'a> World<'a> {
    fn new(terms: &'a Terms, policy: Policy, jobs: &'a [Job]) -> Self {
        let mut hosts = Vec::new();
        for block in 0..terms.blocks {
            for place in 0..terms.instances {
                let launched = i64::from(block) * terms.secs;
                let late =
                    i64::from(place) * (LONGEST_JOIN - SHORTEST_JOIN) / i64::from(terms.instances);
                let joined = launched + SHORTEST_JOIN + late;
                let name = format!("i-{block}-{place}");
                hosts.push(Host::new(
                    &name,
                    policy.agent(),
                    launched,
                    joined,
                    launched + terms.secs,
                ));
            }
        }
        let attempts = vec![0; jobs.len()];
        Self {
            terms,
            policy,
            jobs,
            hosts,
            submitted: 0,
            waiting: Vec::new(),
            attempts,
            placed: 0,
            outcome: Outcome::default(),
        }
    }

    fn second(&mut self, now: i64) {
        for place in 0..self.hosts.len() {
            for (job, how) in self.hosts[place].live(now) {
                self.ended(job, how);
            }
        }
        while self.jobs.get(self.submitted).is_some_and(|job| job.submitted <= now) {
            self.waiting.push(self.submitted);
            self.submitted += 1;
        }
        for place in 0..self.hosts.len() {
            if self.hosts[place].takes_tasks(now) {
                self.fill(place, now);
            }
        }
    }

    fn ended(&mut self, job: usize, how: Ended) {
        match how {
            Ended::Finished => {
                self.outcome.finished += 1;
                self.outcome.useful += self.jobs[job].runs * i64::from(self.jobs[job].vcpus);
                return;
            }
            Ended::Stopped => self.outcome.stopped += 1,
            Ended::CutOff => self.outcome.unwarned += 1,
        }
        if self.attempts[job] < ATTEMPTS {
            // A retried job keeps its place before those that came later.
            let place = self.waiting.partition_point(|other| *other < job);
            self.waiting.insert(place, job);
        } else {
            self.outcome.lost += 1;
        }
    }

    /// Places on a host what waits and fits.
    fn fill(&mut self, place: usize, now: i64) {
        loop {
            let used: u32 =
                self.hosts[place].seen.tasks.values().map(|task| self.jobs[task.job].vcpus).sum();
            let free = self.terms.vcpus - used;
            if free == 0 {
                return;
            }
            let Some(next) = self.next(place, free, now) else { break };
            let job = self.waiting.remove(next);
            self.attempts[job] += 1;
            self.placed += 1;
            let ends_at = now + self.jobs[job].runs;
            self.hosts[place].place(format!("task-{}", self.placed), job, ends_at);
        }
        if self.policy == Policy::KnowsTheFuture && self.is_of_no_more_use(place, now) {
            self.hosts[place].go(now);
        }
    }

    /// The waiting job's place in the queue that the host gets next.
    fn next(&self, place: usize, free: u32, now: i64) -> Option<usize> {
        let fits = |job: &Job| job.vcpus <= free;
        if self.policy != Policy::KnowsTheFuture {
            return self.waiting.iter().position(|job| fits(&self.jobs[*job]));
        }
        let left = self.hosts[place].stop_at - now;
        let ends_in_time = |at: &usize| {
            let job = &self.jobs[self.waiting[*at]];
            fits(job) && job.runs <= left
        };
        (0..self.waiting.len())
            .filter(ends_in_time)
            .max_by_key(|at| self.jobs[self.waiting[*at]].runs)
    }

    /// Whether nothing runs on the host and nothing that waits or is still to come would end in
    /// time.
    fn is_of_no_more_use(&self, place: usize, now: i64) -> bool {
        let host = &self.hosts[place];
        let ends_in_time = |job: &Job| job.submitted.max(now) + job.runs <= host.stop_at;
        let waiting = || self.waiting.iter().any(|job| ends_in_time(&self.jobs[*job]));
        let to_come = || self.jobs[self.submitted..].iter().any(ends_in_time);
        host.seen.tasks.is_empty() && !waiting() && !to_come()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Drawn;

    const TERMS: Terms = Terms { blocks: 2, instances: 4, vcpus: 2, secs: 2 * 3600 };

    fn outcome(policy: Policy) -> Outcome {
        run(&TERMS, policy, &Drawn { median_secs: 900 }.jobs(3, &TERMS))
    }

    /// Catches: a simulation in which the agent isn't heard, or hosts that are paid for after they
    /// have gone.
    #[test]
    fn no_agent_lets_a_job_be_cut_off_and_without_one_many_are() {
        assert!(outcome(Policy::NoDrain).unwarned > 8, "{:?}", outcome(Policy::NoDrain));
        for policy in Policy::all().into_iter().filter(|policy| *policy != Policy::NoDrain) {
            let outcome = outcome(policy);
            assert_eq!(outcome.unwarned, 0, "{policy:?}: {outcome:?}");
            assert!(outcome.paid < 2 * 4 * 2 * 7200, "{policy:?}: {outcome:?}");
        }
    }

    #[test]
    fn nobody_does_better_than_who_knows_the_future_who_wastes_nothing() {
        let best = outcome(Policy::KnowsTheFuture);
        assert_eq!((best.stopped, best.lost), (0, 0), "{best:?}");
        for policy in Policy::all() {
            assert!(
                outcome(policy).goodput() <= best.goodput(),
                "{policy:?}: {:?} {best:?}",
                outcome(policy)
            );
        }
    }

    #[test]
    fn a_longer_lead_stops_fewer_jobs() {
        let (stop_only, fixed) = (outcome(Policy::StopOnly), outcome(Policy::FixedLead(45)));
        assert!(fixed.stopped < stop_only.stopped, "{fixed:?} {stop_only:?}");
    }

    /// By hand: one instance, two jobs that end, one that the block's end cuts off.
    #[test]
    fn goodput_is_what_finished_of_what_was_paid() {
        let terms = Terms { blocks: 1, instances: 1, vcpus: 1, secs: 3600 };
        let job = |runs| Job { submitted: 0, runs, vcpus: 1 };
        let outcome = run(&terms, Policy::NoDrain, &[job(1000), job(1000), job(3000)]);
        assert_eq!(
            (outcome.paid, outcome.useful, outcome.finished, outcome.unwarned),
            (3600, 2000, 2, 1)
        );
        assert!((outcome.goodput() - 2000.0 / 3600.0).abs() < 1e-9);
    }

    #[test]
    fn a_job_whose_attempts_are_used_up_is_lost() {
        let terms = Terms { blocks: 4, instances: 1, vcpus: 1, secs: 3600 };
        let outcome = run(&terms, Policy::NoDrain, &[Job { submitted: 0, runs: 3590, vcpus: 1 }]);
        assert_eq!((outcome.unwarned, outcome.lost, outcome.finished), (3, 1, 0));
    }
}
