//! Streams of jobs.

use anyhow::{Context as _, ensure};

use crate::policy::STOP_LEAD;
use crate::world::{LONGEST_JOIN, Terms};

/// How much more work there is than the blocks could do: with less, idle hosts would hide how their
/// ends are met.
const LOAD: f64 = 1.2;

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// When it is submitted, in seconds since the first block's start.
    pub(crate) submitted: i64,
    /// How long it runs, in seconds.
    pub(crate) runs: i64,
    /// The virtual processors it takes.
    pub(crate) vcpus: u32,
}

impl Terms {
    /// The longest that a job may run, in seconds: a longer one fits no block, and the provisioner
    /// refuses it.
    pub(crate) fn longest_job(&self) -> i64 {
        self.secs - i64::from(STOP_LEAD) - LONGEST_JOIN
    }

    fn work(&self) -> f64 {
        f64::from(self.blocks)
            * f64::from(self.instances)
            * f64::from(self.vcpus)
            * self.secs as f64
            * LOAD
    }

    fn fits(&self, job: &Job) -> bool {
        job.runs <= self.longest_job() && job.vcpus <= self.vcpus
    }
}

/// Log-normal durations: most jobs are short, most of the time goes into long ones, as in the
/// traces of clusters.
pub(crate) struct Drawn {
    pub(crate) median_secs: i64,
}

/// The spread of the durations' logarithm: with it a job in forty takes more than fourteen times
/// the median.
const SIGMA: f64 = 1.35;

impl Drawn {
    /// The same jobs for the same seed.
    pub(crate) fn jobs(&self, seed: u64, terms: &Terms) -> Vec<Job> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut jobs, mut work) = (Vec::new(), 0.0);
        while work < terms.work() {
            let runs = self.median_secs as f64 * (SIGMA * normal(&mut random)).exp();
            let job = Job { submitted: 0, runs: (runs as i64).max(1), vcpus: 1 };
            if terms.fits(&job) {
                work += job.runs as f64;
                jobs.push(job);
            }
        }
        spread(&mut jobs, terms, |_| random.f64());
        jobs
    }
}

/// A number from the standard normal distribution (Box and Muller's way).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = (1.0 - random.f64(), random.f64());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Has jobs come over the time of all blocks, at these parts of it.
fn spread(jobs: &mut [Job], terms: &Terms, mut part: impl FnMut(&Job) -> f64) {
    let all = (i64::from(terms.blocks) * terms.secs) as f64;
    for job in &mut *jobs {
        job.submitted = (part(job).clamp(0.0, 1.0) * all) as i64;
    }
    jobs.sort_by_key(|job| job.submitted);
}

/// What a trace's jobs are at most in their numbers: ten thousand years in seconds. More is no
/// time, and no processor either.
const MOST: f64 = 3.2e11;

/// A trace's jobs.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Those that fit a block, by their submission.
    pub(crate) jobs: Vec<Job>,
    /// How many did not run, used no processor that is known, or fit no block.
    pub(crate) passed_over: usize,
}

/// A trace's text. Its comments may be in any encoding.
///
/// # Errors
///
/// When it is compressed, as archives keep them.
pub(crate) fn text_of(bytes: &[u8]) -> anyhow::Result<String> {
    ensure!(
        !bytes.starts_with(&[0x1f, 0x8b]),
        "it is compressed: give what `gunzip --keep` makes of it"
    );
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Reads a trace in the Standard Workload Format: a line a job, of 18 numbers; number 2 is the
/// submission, 4 the run time, 5 the processors that it had and 8 those that it asked for.
/// <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>
///
/// As many jobs are taken, from the first on, as make more work than the blocks can do; their
/// submissions are drawn together into the blocks' time. Those that fit no block, did not run or
/// used no processor are passed over.
///
/// # Errors
///
/// At a line that is none of the format, and when no job fits a block.
pub(crate) fn from_trace(text: &str, terms: &Terms) -> anyhow::Result<Trace> {
    let (mut jobs, mut work, mut passed_over) = (Vec::new(), 0.0, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') || work >= terms.work() {
            continue;
        }
        let job = a_line(line).with_context(|| format!("line {number}"))?;
        if job.runs > 0 && job.vcpus > 0 && terms.fits(&job) {
            work += job.runs as f64 * f64::from(job.vcpus);
            jobs.push(job);
        } else {
            passed_over += 1;
        }
    }
    ensure!(
        !jobs.is_empty(),
        "no job in it fits a block of {} s with {} vCPUs, of {passed_over} jobs; see --hours and \
         --vcpus",
        terms.secs,
        terms.vcpus
    );
    let first = jobs.iter().map(|job| job.submitted).min().unwrap_or_default();
    let last = jobs.iter().map(|job| job.submitted).max().unwrap_or_default();
    let span = ((last - first) as f64).max(1.0);
    spread(&mut jobs, terms, |job| (job.submitted - first) as f64 / span);
    Ok(Trace { jobs, passed_over })
}

fn a_line(line: &str) -> anyhow::Result<Job> {
    let fields: Vec<_> = line.split_whitespace().collect();
    ensure!(
        fields.len() == 18,
        "a job has 18 fields in the Standard Workload Format, not {}",
        fields.len()
    );
    let number = |field: usize| {
        // Some traces have fractions of seconds.
        let text = fields[field - 1];
        let number =
            text.parse::<f64>().with_context(|| format!("field {field} is no number: {text:?}"))?;
        ensure!(number.abs() <= MOST, "field {field} is out of range: {text:?}");
        Ok(number)
    };
    // -1 stands for what isn't known; then what was asked for has to do.
    let (had, asked) = (number(5)?, number(8)?);
    let vcpus = if had > 0.0 { had } else { asked }.clamp(0.0, f64::from(u32::MAX)) as u32;
    Ok(Job { submitted: number(2)? as i64, runs: number(4)? as i64, vcpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms { blocks: 2, instances: 2, vcpus: 4, secs: 3600 }
    }

    #[test]
    fn the_same_seed_draws_the_same_jobs_and_another_others() {
        let drawn = Drawn { median_secs: 600 };
        assert_eq!(drawn.jobs(1, &terms()), drawn.jobs(1, &terms()));
        assert_ne!(drawn.jobs(1, &terms()), drawn.jobs(2, &terms()));
    }

    #[test]
    fn durations_are_heavy_tailed_and_fit_a_block() {
        let terms = Terms { blocks: 10, instances: 10, vcpus: 4, secs: 10 * 3600 };
        let mut runs: Vec<_> =
            Drawn { median_secs: 600 }.jobs(7, &terms).iter().map(|job| job.runs).collect();
        runs.sort_unstable();
        let (median, mean) = (runs[runs.len() / 2], runs.iter().sum::<i64>() / runs.len() as i64);
        assert!((540..660).contains(&median), "{median}");
        assert!(mean > 2 * median, "{mean}");
        assert!(runs[runs.len() - 1] <= terms.longest_job());
    }

    /// A line of a trace.
    fn a_job(submit: i64, runs: &str, had: i64, asked: i64) -> String {
        format!("1 {submit} 5 {runs} {had} -1 -1 {asked} 9999 -1 1 3 4 -1 1 -1 -1 -1\n")
    }

    #[test]
    fn a_trace_that_does_not_know_what_jobs_had_counts_what_they_asked_for() {
        let text = [a_job(0, "60", -1, 3), a_job(10, "60", 2, 4)].concat();
        let trace = from_trace(&text, &terms()).expect("jobs");
        assert_eq!(trace.jobs.iter().map(|job| job.vcpus).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn a_traces_comments_may_be_in_any_encoding_but_not_compressed() {
        let text = text_of(b"; Installation: universit\xe9\n").expect("a text");
        assert!(text.starts_with("; Installation: universit"), "{text}");
        let error = text_of(&[0x1f, 0x8b, 8, 0]).expect_err("compressed").to_string();
        assert!(error.contains("gunzip"), "{error}");
    }

    #[test]
    fn a_trace_is_read_by_its_fields_and_drawn_together() {
        let line = |submit: i64, runs: &str, vcpus: i64| a_job(submit, runs, vcpus, vcpus);
        let text = [
            "; Computer: a cluster\n\n".to_owned(),
            line(1000, "600", 1),
            line(2000, "0", 1),
            line(3000, "90.5", 4),
            line(4000, "9999999", 1),
            line(5000, "60", 64),
            line(9000, "60", -1),
            line(9000, "60", 2),
        ];
        let trace = from_trace(&text.concat(), &terms()).expect("jobs");
        assert_eq!(trace.passed_over, 4);
        assert_eq!(
            trace.jobs,
            [
                Job { submitted: 0, runs: 600, vcpus: 1 },
                Job { submitted: 1800, runs: 90, vcpus: 4 },
                Job { submitted: 7200, runs: 60, vcpus: 2 },
            ]
        );
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        let error = |text: &str| format!("{:#}", from_trace(text, &terms()).expect_err("no trace"));
        assert!(error("; nothing\n").contains("no job in it fits"), "{}", error("; nothing\n"));
        assert!(
            error("; x\n1 2 3\n").starts_with("line 2: a job has 18 fields"),
            "{}",
            error("; x\n1 2 3\n")
        );
        let words = "1 2 3 four 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n";
        assert!(error(words).contains("field 4 is no number: \"four\""), "{}", error(words));
        let too_long = error(&a_job(0, "1e300", 1, 1));
        assert_eq!(too_long, "line 1: field 4 is out of range: \"1e300\"");
        // Catches: what is no number taken for a job that didn't run.
        assert!(
            error(&a_job(0, "NaN", 1, 1)).contains("field 4 is out of range"),
            "{}",
            error(&a_job(0, "NaN", 1, 1))
        );
        let error = error(&a_job(0, "60", 65, 65));
        assert!(error.contains("of 1 jobs; see --hours and --vcpus"), "{error}");
    }
}
