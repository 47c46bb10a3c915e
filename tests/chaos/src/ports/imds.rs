//! IMDS, as the agent's adapter reads it: also where it fails, hangs or lies.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::ec2;
use node_contract::names::tag;
use spotblock_agent::ports::{Answer, Identity, Metadata, MetadataError, Signal};

use super::Agent;
use crate::host::{Ill, Lie};

/// How long ago what lies says that something was, or how far ahead.
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Agent {
    /// What every question to IMDS goes through.
    async fn imds<T>(
        &self,
        path: &'static str,
        read: impl FnOnce(&ec2::Instance, &BTreeMap<String, String>) -> T,
    ) -> Result<T, MetadataError> {
        self.process.before().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let problem = |problem: &str| MetadataError { path, problem: problem.to_owned() };
        if self.suffers(Ill::ImdsHangs) {
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Err(problem("timed out"));
        }
        if self.suffers(Ill::ImdsFails) {
            return Err(problem("HTTP 503"));
        }
        let (found, date) = {
            let (state, now) = (self.world.state(), self.world.now());
            let id = &state.hosts[self.number].instance;
            let nothing = BTreeMap::new();
            let instance = ec2::instance(&state.cloud, id).ok_or_else(|| problem("HTTP 404"))?;
            let tags = ec2::all_tags(&state.cloud)
                .get(id)
                .filter(|_| instance.shows_tags())
                .unwrap_or(&nothing);
            (read(instance, tags), now)
        };
        self.clock.saw_date(&date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        Ok(found)
    }

    fn lies(&self, lie: Lie) -> bool {
        self.suffers(Ill::Lies(lie))
    }

    /// The id of another host that lives, or of nobody.
    fn other_id(&self) -> String {
        let state = self.world.state();
        let other = state.hosts.iter().find(|host| host.number != self.number && !host.gone);
        other.map_or_else(|| "i-0000000000000dead".to_owned(), |host| host.instance.clone())
    }
}

impl Metadata for Agent {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        let id = self.lies(Lie::OtherId).then(|| self.other_id());
        let later = if self.lies(Lie::LaunchedLater) { DAY } else { SignedDuration::ZERO };
        Box::pin(self.imds("identity", move |it, _| Identity {
            instance: id.unwrap_or_else(|| it.id.clone()),
            region: "us-east-1".to_owned(),
            launched: it.launch_time + later,
            is_spot: it.market == ec2::Market::Spot,
        }))
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        if self.lies(Lie::UserData) {
            return Box::pin(self.imds("user-data", |_, _| Some("\u{0}\u{1f}<html>".to_owned())));
        }
        Box::pin(self.imds("user-data", |it, _| {
            it.user_data().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        }))
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        let lie = self.lies(Lie::NoticeLongAgo);
        Box::pin(self.imds("spot/instance-action", move |it, _| {
            let lie = lie.then(|| it.launch_time - DAY);
            lie.or_else(|| it.notice.as_ref().map(|notice| notice.taken_at))
        }))
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        let maintenance = self.host(|host| host.maintenance);
        let lie = self.lies(Lie::EndLongAgo);
        Box::pin(self.imds("signal", move |it, tags| match signal {
            Signal::TerminationTime => it.notice.as_ref().map(|notice| notice.taken_at),
            Signal::Rebalance => it.rebalance,
            Signal::Maintenance => maintenance,
            Signal::EndTag if lie => Some(it.launch_time - DAY),
            Signal::EndTag => tags.get(tag::END).and_then(|text| text.parse().ok()),
        }))
    }
}
