//! The rules of instance types: they are listed, or follow from what an instance needs.

use toml::Spanned;

use super::check::{Check, Given};
use super::raw::Scalar;
use super::units;
use crate::args::BlockFlags;
use crate::model::instance_type::{Arch, InstanceRequirements};

/// The keys of the file that say what an instance needs.
pub(super) struct RawRequirements {
    pub(super) vcpus: Option<Spanned<i64>>,
    pub(super) memory: Option<Spanned<Scalar>>,
    pub(super) gpus: Option<Spanned<i64>>,
    pub(super) arch: Option<Spanned<String>>,
}

impl RawRequirements {
    fn none() -> Self {
        Self { vcpus: None, memory: None, gpus: None, arch: None }
    }
}

impl Check<'_> {
    /// The types, or what they follow from. Flags of the one way beat keys of the other.
    pub(super) fn wanted(
        &mut self,
        flags: &BlockFlags,
        types: Option<Spanned<Vec<String>>>,
        raw: RawRequirements,
    ) -> Option<(Vec<String>, Option<InstanceRequirements>)> {
        let need_flags = flags.vcpus.is_some()
            || flags.memory.is_some()
            || flags.gpus.is_some()
            || flags.arch.is_some();
        let (types, raw) = match (flags.instance_types.is_some(), need_flags) {
            (true, false) => (types, RawRequirements::none()),
            (false, true) => (None, raw),
            _ => (types, raw),
        };
        let types = self.pick(
            flags.instance_types.clone(),
            "--instance-type",
            "[block] instance-types",
            types,
        );
        let vcpus = self.pick(flags.vcpus.map(i64::from), "--vcpus", "[block] vcpus", raw.vcpus);
        let memory = self.pick(
            flags.memory.clone().map(Scalar::Text),
            "--memory",
            "[block] memory",
            raw.memory,
        );
        let gpus = self.pick(flags.gpus.map(i64::from), "--gpus", "[block] gpus", raw.gpus);
        let arch = self.pick(flags.arch.clone(), "--arch", "[block] arch", raw.arch);
        let sized = vcpus.is_some() || memory.is_some() || gpus.is_some();
        match types {
            None if sized => {
                let vcpus = vcpus.map(|given| self.count(&given, 1024));
                let memory_mib =
                    memory.map(|given| self.take(&given.place, units::mebibytes(&given.value)));
                let gpus = gpus.map(|given| self.count(&given, 64));
                let arch = arch.map_or(Some(Arch::X86), |given| self.arch(&given));
                let requirements = InstanceRequirements {
                    vcpus: vcpus.unwrap_or(Some(0))?,
                    memory_mib: memory_mib.unwrap_or(Some(0))?,
                    gpus: gpus.unwrap_or(Some(0))?,
                    arch: arch?,
                };
                Some((Vec::new(), Some(requirements)))
            }
            None if arch.is_some() => {
                let arch = arch?;
                if self.arch(&arch).is_some() {
                    self.problem(
                        &arch.place,
                        "goes with vcpus, memory or gpus: give one of them too",
                    );
                }
                None
            }
            None => {
                let place = self.path();
                let ways = "instance-types (--instance-type), or what an instance needs: vcpus, \
                            memory or gpus";
                self.problem(&place, format!("[block] instance-types is missing: give {ways}"));
                None
            }
            Some(given) if sized || arch.is_some() => {
                let other = "vcpus, memory, gpus or arch";
                self.problem(
                    &given.place,
                    format!("given together with {other}: give the types, or what they need"),
                );
                None
            }
            given => Some((
                self.some(given, "instance-types", "--instance-type", "instance type", "")?,
                None,
            )),
        }
    }

    fn count(&mut self, given: &Given<i64>, most: u32) -> Option<u32> {
        let count = u32::try_from(given.value).ok().filter(|count| (1..=most).contains(count));
        if count.is_none() {
            self.problem(&given.place, format!("{} is not a number from 1 to {most}", given.value));
        }
        count
    }

    fn arch(&mut self, given: &Given<String>) -> Option<Arch> {
        let arch = Arch::named(&given.value);
        if arch.is_none() {
            self.problem(
                &given.place,
                format!("{:?} is neither \"x86_64\" nor \"arm64\"", given.value),
            );
        }
        arch
    }
}
