//! The instance types on offer: sizes as EC2's pages of instance types give them, prices near those
//! of us-east-1.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// An instance type as far as the local cloud cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// AWS's name of it.
    pub name: &'static str,
    /// How many vCPUs it has.
    pub vcpus: u32,
    /// How much memory it has, in MiB.
    pub memory_mib: u32,
    /// How many GPUs it has.
    pub gpus: u32,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// What it costs on demand, in millionths of a dollar an hour.
    pub(super) microdollars: u32,
    /// What it has of GPUs or other accelerators, one of them described.
    accelerator: Option<Accelerator>,
    accelerators: u32,
    network: &'static str,
    /// The letters of the zones that have it.
    zones: &'static str,
    pub(super) usage_classes: &'static [&'static str],
    /// Whether AWS counts it to its newer ones.
    pub current: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Accelerator {
    name: &'static str,
    manufacturer: &'static str,
    memory_mib: u32,
    /// AWS lists what isn't a GPU elsewhere, and doesn't say who makes it.
    gpu: bool,
}

/// A row of the tables below: size, vCPUs, memory in GiB, dollars an hour, accelerators.
type Size = (&'static str, u32, u32, f64, u32);

/// What the types of a family have in common.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    architecture: &'static str,
    network: &'static str,
    zones: &'static str,
    usage_classes: &'static [&'static str],
    current: bool,
    accelerator: Option<Accelerator>,
}

const USUAL: &[&str] = &["on-demand", "spot"];
const WITH_BLOCKS: &[&str] = &["on-demand", "spot", "capacity-block"];

/// The oldest zone of the region lacks what is newer.
const NEWER: &str = "abcdf";

const fn family(name: &'static str, architecture: &'static str, network: &'static str) -> Family {
    Family {
        name,
        architecture,
        network,
        zones: NEWER,
        usage_classes: USUAL,
        current: true,
        accelerator: None,
    }
}

const fn of_nvidia(name: &'static str, memory_gib: u32) -> Option<Accelerator> {
    Some(Accelerator { name, manufacturer: "NVIDIA", memory_mib: memory_gib * 1024, gpu: true })
}

/// Burstable families, whose memory doesn't follow from their vCPUs: in GiB, from micro to 2xlarge.
const BURSTABLE: [(&str, u32, u32, u32); 6] = [
    ("micro", 1, 2, 1),
    ("small", 2, 2, 2),
    ("medium", 4, 2, 4),
    ("large", 8, 2, 8),
    ("xlarge", 16, 4, 16),
    ("2xlarge", 32, 8, 32),
];

/// Sizes by their vCPUs.
const SIZES: [(&str, u32); 10] = [
    ("large", 2),
    ("xlarge", 4),
    ("2xlarge", 8),
    ("4xlarge", 16),
    ("8xlarge", 32),
    ("9xlarge", 36),
    ("12xlarge", 48),
    ("16xlarge", 64),
    ("18xlarge", 72),
    ("24xlarge", 96),
];

/// All types.
pub(super) static TYPES: LazyLock<Vec<InstanceType>> = LazyLock::new(|| {
    let mut types = burstable();
    types.extend(general());
    types.extend(accelerated());
    types
});

/// The type of this name.
pub(super) fn find(name: &str) -> Option<&'static InstanceType> {
    TYPES.iter().find(|row| row.name == name)
}

fn burstable() -> Vec<InstanceType> {
    let x86 = |name| family(name, "x86_64", "Up to 5 Gigabit");
    let t2 = Family { zones: "abcdef", network: "Low to Moderate", current: false, ..x86("t2") };
    let families = [
        // Name, and what a size's factor costs.
        (t2, 11_600.0),
        (x86("t3"), 10_400.0),
        (x86("t3a"), 9_400.0),
        (family("t4g", "arm64", "Up to 5 Gigabit"), 8_400.0),
    ];
    let mut types = Vec::new();
    for (family, unit) in families {
        for (size, factor, vcpus, gib) in BURSTABLE {
            // T2 has one vCPU up to its small size.
            let vcpus = if family.name == "t2" && factor < 4 { 1 } else { vcpus };
            types.push(family.of_size((size, vcpus, gib, unit / 1e6 * f64::from(factor), 0)));
        }
    }
    types
}

fn general() -> Vec<InstanceType> {
    let ten = "Up to 10 Gigabit";
    let x86 = |name| family(name, "x86_64", ten);
    let arm = |name| family(name, "arm64", ten);
    let old = |name| Family { zones: "abcdef", ..x86(name) };
    // Dollars for a vCPU, GiB for a vCPU, and the sizes that a family doesn't have.
    let families: [(Family, f64, u32, &[&str]); 14] = [
        (old("m5"), 0.048, 4, &["9xlarge", "18xlarge"]),
        (x86("m6i"), 0.048, 4, &["9xlarge", "18xlarge"]),
        (arm("m6g"), 0.0385, 4, &["9xlarge", "18xlarge", "24xlarge"]),
        (x86("m7i"), 0.0504, 4, &["9xlarge", "18xlarge"]),
        (arm("m7g"), 0.0408, 4, &["9xlarge", "18xlarge", "24xlarge"]),
        (old("c5"), 0.0425, 2, &["8xlarge", "16xlarge"]),
        (x86("c6i"), 0.0425, 2, &["9xlarge", "18xlarge"]),
        (arm("c6g"), 0.034, 2, &["9xlarge", "18xlarge", "24xlarge"]),
        (x86("c7i"), 0.044_625, 2, &["9xlarge", "18xlarge"]),
        (arm("c7g"), 0.036_25, 2, &["9xlarge", "18xlarge", "24xlarge"]),
        (old("r5"), 0.063, 8, &["9xlarge", "18xlarge"]),
        (x86("r6i"), 0.063, 8, &["9xlarge", "18xlarge"]),
        (arm("r6g"), 0.0504, 8, &["9xlarge", "18xlarge", "24xlarge"]),
        (arm("r7g"), 0.053_55, 8, &["9xlarge", "18xlarge", "24xlarge"]),
    ];
    let mut types = Vec::new();
    for (family, dollars, gib, missing) in families {
        for (size, vcpus) in SIZES.iter().filter(|(size, _)| !missing.contains(size)) {
            types.push(family.of_size((size, *vcpus, vcpus * gib, dollars * f64::from(*vcpus), 0)));
        }
    }
    types
}

fn accelerated() -> Vec<InstanceType> {
    let gpus =
        |name, network, accelerator| Family { accelerator, ..family(name, "x86_64", network) };
    let of_blocks = |family: Family, zones| Family { usage_classes: WITH_BLOCKS, zones, ..family };
    let trainium = Some(Accelerator {
        name: "Trainium",
        manufacturer: "AWS",
        memory_mib: 32 * 1024,
        gpu: false,
    });
    let p2 = Family { current: false, zones: "bcde", ..gpus("p2", "High", of_nvidia("K80", 12)) };
    let families: [(Family, &[Size]); 8] = [
        (p2, &[("xlarge", 4, 61, 0.9, 1)]),
        (
            Family { zones: "bcdf", ..gpus("p3", "Up to 10 Gigabit", of_nvidia("V100", 16)) },
            &[
                ("2xlarge", 8, 61, 3.06, 1),
                ("8xlarge", 32, 244, 12.24, 4),
                ("16xlarge", 64, 488, 24.48, 8),
            ],
        ),
        (
            gpus("g4dn", "Up to 25 Gigabit", of_nvidia("T4", 16)),
            &[
                ("xlarge", 4, 16, 0.526, 1),
                ("2xlarge", 8, 32, 0.752, 1),
                ("4xlarge", 16, 64, 1.204, 1),
                ("8xlarge", 32, 128, 2.176, 1),
                ("12xlarge", 48, 192, 3.912, 4),
                ("16xlarge", 64, 256, 4.352, 1),
            ],
        ),
        (
            gpus("g5", "Up to 25 Gigabit", of_nvidia("A10G", 24)),
            &[
                ("xlarge", 4, 16, 1.006, 1),
                ("2xlarge", 8, 32, 1.212, 1),
                ("4xlarge", 16, 64, 1.624, 1),
                ("8xlarge", 32, 128, 2.448, 1),
                ("12xlarge", 48, 192, 5.672, 4),
                ("24xlarge", 96, 384, 8.144, 4),
                ("48xlarge", 192, 768, 16.288, 8),
            ],
        ),
        (
            gpus("g6", "Up to 10 Gigabit", of_nvidia("L4", 24)),
            &[
                ("xlarge", 4, 16, 0.8048, 1),
                ("2xlarge", 8, 32, 0.9776, 1),
                ("4xlarge", 16, 64, 1.3232, 1),
            ],
        ),
        (
            of_blocks(gpus("p4d", "4x 100 Gigabit", of_nvidia("A100", 40)), "abcd"),
            &[("24xlarge", 96, 1152, 21.957_642, 8)],
        ),
        (
            of_blocks(gpus("p5", "3200 Gigabit", of_nvidia("H100", 80)), "abcdf"),
            &[("4xlarge", 16, 256, 6.88, 1), ("48xlarge", 192, 2048, 55.04, 8)],
        ),
        (
            of_blocks(gpus("trn1", "Up to 12.5 Gigabit", trainium), "bcdf"),
            &[("2xlarge", 8, 32, 1.343_75, 1), ("32xlarge", 128, 512, 21.5, 16)],
        ),
    ];
    families
        .iter()
        .flat_map(|(family, sizes)| sizes.iter().map(|size| family.of_size(*size)))
        .collect()
}

impl Family {
    fn of_size(self, (size, vcpus, memory_gib, dollars, accelerators): Size) -> InstanceType {
        let micro = (dollars * 1e6).round();
        InstanceType {
            // The tables are made once, and their names live as long as the program.
            name: format!("{}.{size}", self.name).leak(),
            vcpus,
            memory_mib: memory_gib * 1024,
            gpus: if self.accelerator.is_some_and(|it| it.gpu) { accelerators } else { 0 },
            architecture: self.architecture,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "prices are positive and below 4,000 dollars"
            )]
            microdollars: micro as u32,
            accelerator: self.accelerator,
            accelerators,
            network: self.network,
            zones: self.zones,
            usage_classes: self.usage_classes,
            current: self.current,
        }
    }
}

impl InstanceType {
    /// Whether a zone has it.
    pub(super) fn is_offered(&self, zone: char) -> bool {
        self.zones.contains(zone)
    }

    pub(super) fn answer(&self) -> Value {
        let accelerator = self.accelerator.map(|it| {
            json!([{
                "name": it.name, "manufacturer": it.gpu.then_some(it.manufacturer), "count": self.accelerators,
                "memoryInfo": { "sizeInMiB": it.memory_mib },
            }])
        });
        let memory = self.accelerator.map(|it| it.memory_mib * self.accelerators);
        let (gpus, others) = if self.gpus > 0 { (accelerator, None) } else { (None, accelerator) };
        json!({
            "instanceType": self.name,
            "currentGeneration": self.current,
            "freeTierEligible": self.name.ends_with(".micro"),
            "supportedUsageClasses": self.usage_classes,
            "supportedRootDeviceTypes": ["ebs"],
            "supportedVirtualizationTypes": ["hvm"],
            "bareMetal": false,
            "hypervisor": if self.name.starts_with("t2.") { "xen" } else { "nitro" },
            "processorInfo": { "supportedArchitectures": [self.architecture] },
            "vCpuInfo": { "defaultVCpus": self.vcpus },
            "memoryInfo": { "sizeInMiB": self.memory_mib },
            "instanceStorageSupported": false,
            "networkInfo": { "networkPerformance": self.network, "maximumNetworkInterfaces": 2 },
            "burstablePerformanceSupported": self.name.starts_with('t') && !self.name.starts_with("trn"),
            "gpuInfo": gpus.map(|gpus| json!({ "gpus": gpus, "totalGpuMemoryInMiB": memory })),
            "neuronInfo": others.map(|it| json!({ "neuronDevices": it, "totalNeuronDeviceMemoryInMiB": memory })),
        })
    }

    /// What filters are held against.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("instance-type", self.name.to_owned()),
            ("current-generation", self.current.to_string()),
            ("free-tier-eligible", self.name.ends_with(".micro").to_string()),
            ("bare-metal", "false".to_owned()),
            (
                "burstable-performance-supported",
                (self.name.starts_with('t') && self.accelerator.is_none()).to_string(),
            ),
            ("processor-info.supported-architecture", self.architecture.to_owned()),
            ("supported-root-device-type", "ebs".to_owned()),
            ("supported-virtualization-type", "hvm".to_owned()),
            ("vcpu-info.default-vcpus", self.vcpus.to_string()),
            ("memory-info.size-in-mib", self.memory_mib.to_string()),
            ("network-info.network-performance", self.network.to_owned()),
        ];
        fields.extend(
            self.usage_classes.iter().map(|class| ("supported-usage-class", (*class).to_owned())),
        );
        fields
    }
}
