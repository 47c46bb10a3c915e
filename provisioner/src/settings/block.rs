//! The rules of `[block]`.

use jiff::SignedDuration;
use node_contract::{MIN_RELEASE_SECS, Source};

use super::check::{Check, Given};
use super::instance_requirements::RawRequirements;
use super::raw::{RawBlock, Scalar};
use super::{BlockSettings, Image, units};
use crate::args::BlockFlags;
use crate::model::instance_type::{Arch, InstanceRequirements};
use crate::model::record::TAG_VALUE;
use crate::model::source;

/// How soon a capacity block that is bought begins, where nothing is said.
const START_WITHIN: SignedDuration = SignedDuration::from_hours(24);

impl Check<'_> {
    pub(super) fn block(
        &mut self,
        raw: RawBlock,
        flags: &BlockFlags,
        gpus: bool,
        region: Option<&str>,
    ) -> Option<BlockSettings> {
        let sources = self.sources(self.pick(
            flags.sources.clone(),
            "--source",
            "[block] sources",
            raw.sources,
        ));
        let instances = self.pick(
            flags.instances.map(i64::from),
            "--instances",
            "[block] instances",
            raw.instances,
        );
        let instances = self.instances(instances, sources.as_deref().unwrap_or_default());
        let duration = flags.duration.clone().map(Scalar::Text);
        let duration = self.pick(duration, "--duration", "[block] duration", raw.duration);
        let duration = self.duration(duration, sources.as_deref().unwrap_or_default());
        let RawBlock { instance_types: types, vcpus, memory, gpus: gpus_needed, arch, .. } = raw;
        let wanted =
            self.wanted(flags, types, RawRequirements { vcpus, memory, gpus: gpus_needed, arch });
        let (instance_types, requirements) = wanted.unzip();
        let requirements = requirements.flatten();
        let subnets = self.pick(flags.subnets.clone(), "--subnet", "[block] subnets", raw.subnets);
        let subnets = self.some(subnets, "subnets", "--subnet", "subnet", "subnet-");
        let partial =
            self.pick(flags.partial.map(i64::from), "--partial", "[block] partial", raw.partial);
        let partial = partial.and_then(|given| self.partial(&given, instances));
        let mix = self.pick(flags.mix.then_some(true), "--mix", "[block] mix", raw.mix);
        let reservation = self.pick(
            flags.reservation.clone(),
            "--reservation",
            "[block] reservation",
            raw.reservation,
        );
        let reservation = reservation.and_then(|given| self.reservation(given, sources.as_deref()));
        let groups = self.pick(
            flags.security_groups.clone(),
            "--security-group",
            "[block] security-groups",
            raw.security_groups,
        );
        let security_groups = self.groups(groups);
        let price = self.pick(
            flags.max_price.map(Scalar::Float),
            "--max-price",
            "[block] max-price",
            raw.max_price,
        );
        let max_price =
            price.and_then(|price| self.take(&price.place, units::dollars(&price.value)));
        let cost = self.pick(
            flags.max_cost.map(Scalar::Float),
            "--max-cost",
            "[block] max-cost",
            raw.max_cost,
        );
        let max_cost = cost.and_then(|cost| self.take(&cost.place, units::cost(&cost.value)));
        let id = self.pick(
            flags.capacity_block.clone(),
            "--capacity-block",
            "[block] capacity-block",
            raw.capacity_block,
        );
        let capacity_block = id.and_then(|id| self.capacity_block(id));
        let within = flags.start_within.clone().map(Scalar::Text);
        let within = self.pick(within, "--start-within", "[block] start-within", raw.start_within);
        let start_within =
            within.and_then(|within| self.take(&within.place, units::duration(&within.value)));
        let volume = raw.root_volume.map(|volume| self.here("[block] root-volume", volume));
        let root_volume_gib =
            volume.and_then(|volume| self.take(&volume.place, units::gibibytes(&volume.value)));
        let idle = raw.release_when_idle.map(|idle| self.here("[block] release-when-idle", idle));
        let release_when_idle = idle.and_then(|idle| self.release_when_idle(idle));
        let zone =
            self.zone(self.pick(flags.zone.clone(), "--zone", "[block] zone", raw.zone), region);
        let image = self.image(
            self.pick(flags.image.clone(), "--image", "[block] image", raw.image),
            gpus,
            requirements.as_ref(),
        );
        let profile = self.pick(
            flags.instance_profile.clone(),
            "--instance-profile",
            "[block] instance-profile",
            raw.instance_profile,
        );
        if let Some(profile) = &profile
            && profile.value.contains([':', '/'])
        {
            self.problem(
                &profile.place,
                format!("{:?} is not a name: give the profile's name, not its ARN", profile.value),
            );
        }
        let key_name =
            self.pick(flags.key_name.clone(), "--key-name", "[block] key-name", raw.key_name);
        Some(BlockSettings {
            instances: instances?,
            duration: duration?,
            instance_types: instance_types?,
            requirements,
            sources: sources?,
            partial,
            mix: mix.is_some_and(|mix| mix.value),
            reservation,
            max_price,
            max_cost,
            capacity_block,
            start_within: start_within.unwrap_or(START_WITHIN),
            subnets: subnets?,
            security_groups: security_groups?,
            zone,
            key_name: key_name.map(|key| key.value),
            instance_profile: profile.map(|profile| profile.value),
            root_volume_gib,
            release_when_idle,
            image: image?,
        })
    }

    fn release_when_idle(&mut self, given: Given<Scalar>) -> Option<SignedDuration> {
        let idle = self.take(&given.place, units::duration(&given.value))?;
        let floor = SignedDuration::from_secs(MIN_RELEASE_SECS.into());
        if idle < floor {
            self.problem(
                &given.place,
                format!("{idle:#} is under {floor:#}: instances would leave between two jobs"),
            );
        }
        Some(idle)
    }

    fn sources(&mut self, given: Option<Given<Vec<String>>>) -> Option<Vec<Source>> {
        let Some(given) = given else { return Some(vec![Source::SpotBlock]) };
        let known = source::ALL
            .iter()
            .map(|source| format!("{:?}", source.to_string()))
            .collect::<Vec<_>>()
            .join(", ");
        let mut sources = Vec::new();
        for name in &given.value {
            let problem = match source::named(name) {
                Some(source) if sources.contains(&source) => format!("{name:?} is listed twice"),
                Some(source) => {
                    sources.push(source);
                    continue;
                }
                None => format!("{name:?} is not a source: this version knows {known}"),
            };
            self.problem(&given.place, problem);
        }
        if given.value.is_empty() {
            self.problem(&given.place, format!("is empty: this version knows {known}"));
        }
        (!sources.is_empty()).then_some(sources)
    }

    fn instances(&mut self, given: Option<Given<i64>>, sources: &[Source]) -> Option<u32> {
        let Some(given) = given else { return self.missing("[block] instances", "--instances") };
        let count = u32::try_from(given.value).ok().filter(|count| (1..=1000).contains(count));
        if count.is_none() {
            self.problem(&given.place, format!("{} is not a number from 1 to 1000", given.value));
        }
        let mosts =
            sources.iter().filter_map(|source| Some((source, source::rules(*source).most()?)));
        let over = mosts.filter(|(_, most)| count.is_some_and(|count| count > *most));
        let over: Vec<_> = over.collect();
        for (source, most) in &over {
            self.problem(
                &given.place,
                format!("{} is more than {source} sells: at most {most}", given.value),
            );
        }
        count.filter(|_| over.is_empty())
    }

    fn capacity_block(&mut self, given: Given<String>) -> Option<String> {
        if given.value.starts_with("cr-") && !given.value.contains(char::is_whitespace) {
            return Some(given.value);
        }
        self.problem(
            &given.place,
            format!("{:?} is not a capacity reservation's id: it begins with `cr-`", given.value),
        );
        None
    }

    /// What each source can do.
    fn duration(
        &mut self,
        given: Option<Given<Scalar>>,
        sources: &[Source],
    ) -> Option<SignedDuration> {
        let Some(given) = given else { return self.missing("[block] duration", "--duration") };
        let duration = self.take(&given.place, units::duration(&given.value))?;
        let rules = sources.iter().filter_map(|source| source::rules(*source).impossible(duration));
        let rules: Vec<String> = rules.collect();
        for rule in &rules {
            self.problem(&given.place, format!("{duration:#} is not possible: {rule}"));
        }
        rules.is_empty().then_some(duration)
    }

    /// A list that holds something, each once, and not more than the record can.
    pub(super) fn some(
        &mut self,
        given: Option<Given<Vec<String>>>,
        key: &str,
        flag: &str,
        what: &str,
        prefix: &str,
    ) -> Option<Vec<String>> {
        let Some(given) = given else { return self.missing(&format!("[block] {key}"), flag) };
        let known = self.problems();
        if given.value.is_empty() {
            self.problem(&given.place, format!("is empty: give at least one {what}"));
        }
        for (n, one) in given.value.iter().enumerate() {
            if one.len() <= prefix.len()
                || !one.starts_with(prefix)
                || one.contains(char::is_whitespace)
            {
                let rule = if prefix.is_empty() {
                    String::new()
                } else {
                    format!(": it begins with `{prefix}`")
                };
                self.problem(&given.place, format!("{one:?} is not a {what}{rule}"));
            }
            if given.value.iter().take(n).any(|before| before == one) {
                self.problem(&given.place, format!("{one:?} is listed twice"));
            }
        }
        if given.value.join(" ").len() > TAG_VALUE {
            self.problem(
                &given.place,
                format!("names too many: together they may have {TAG_VALUE} characters"),
            );
        }
        (self.problems() == known).then_some(given.value)
    }

    fn partial(&mut self, given: &Given<i64>, instances: Option<u32>) -> Option<u32> {
        let instances = instances?;
        let partial =
            u32::try_from(given.value).ok().filter(|least| (1..=instances).contains(least));
        if partial.is_none() {
            self.problem(
                &given.place,
                format!("{} is not a number from 1 to instances, {instances}", given.value),
            );
        }
        partial
    }

    fn reservation(&mut self, given: Given<String>, sources: Option<&[Source]>) -> Option<String> {
        let id = given.value;
        if !id.starts_with("cr-") || id.len() <= 3 || id.contains(char::is_whitespace) {
            self.problem(
                &given.place,
                format!("{id:?} is not a capacity reservation's id: it begins with `cr-`"),
            );
        }
        if sources.is_some_and(|sources| !sources.contains(&Source::Reservation)) {
            let why = "has no effect without \"reservation\" in [block] sources";
            self.warnings.push(format!("{}: {why}", given.place));
        }
        Some(id)
    }

    fn groups(&mut self, given: Option<Given<Vec<String>>>) -> Option<Vec<String>> {
        let Some(given) = given else {
            return self.missing("[block] security-groups", "--security-group");
        };
        if given.value.is_empty() {
            self.problem(&given.place, "is empty: an instance needs at least one security group");
        }
        for group in given.value.iter().filter(|group| !group.starts_with("sg-")) {
            self.problem(
                &given.place,
                format!("{group:?} is not a security group's id: it begins with `sg-`"),
            );
        }
        Some(given.value)
    }

    fn zone(&mut self, given: Option<Given<String>>, region: Option<&str>) -> Option<String> {
        let given = given?;
        if let Some(region) = region
            && !given.value.starts_with(region)
        {
            self.problem(&given.place, format!("{:?} is not in region {region:?}", given.value));
        }
        Some(given.value)
    }

    /// Left out, it is the ECS image that AWS recommends: the one for GPUs when a job definition or
    /// the block needs some, the one for ARM when the block does.
    fn image(
        &mut self,
        given: Option<Given<String>>,
        gpus: bool,
        requirements: Option<&InstanceRequirements>,
    ) -> Option<Image> {
        let Some(given) = given else {
            let gpus = gpus || requirements.is_some_and(|requirements| requirements.gpus > 0);
            let kind = match (gpus, requirements.map(|requirements| requirements.arch)) {
                (true, Some(Arch::Arm64)) => {
                    let place = self.path();
                    let problem =
                        "AWS recommends no ECS image for GPUs beside ARM: give one of yours";
                    self.problem(&place, format!("[block] image is missing: {problem}"));
                    return None;
                }
                (true, _) => "amazon-linux-2023/gpu",
                (false, Some(Arch::Arm64)) => "amazon-linux-2023/arm64",
                (false, _) => "amazon-linux-2023",
            };
            return Some(Image::Parameter(format!(
                "/aws/service/ecs/optimized-ami/{kind}/recommended/image_id"
            )));
        };
        if given.value.starts_with("ami-") {
            return Some(Image::Id(given.value));
        }
        match given.value.strip_prefix("ssm:") {
            Some(parameter) if parameter.starts_with('/') => {
                Some(Image::Parameter(parameter.to_owned()))
            }
            _ => {
                self.problem(
                    &given.place,
                    format!("{:?} is neither `ami-...` nor `ssm:/...`", given.value),
                );
                None
            }
        }
    }
}
