//! What can be wrong with a host.

/// What can be wrong with a host for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// IMDS answers with errors.
    ImdsFails,
    /// IMDS takes longer than anybody waits.
    ImdsHangs,
    /// Introspection answers with errors.
    Introspection,
    /// The disk takes nothing.
    Disk,
    /// Commands fail.
    Commands,
    /// Commands take longer than anybody waits.
    CommandsHang,
    /// IMDS lies.
    Lies(Lie),
}

/// What IMDS may say that isn't so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It gives another instance's id, one that lives in the same block if there is one.
    OtherId,
    /// The launch is to come yet.
    LaunchedLater,
    /// The user data is garbage.
    UserData,
    /// The tag that moves the end says a moment long ago.
    EndLongAgo,
    /// The notice says a moment long ago.
    NoticeLongAgo,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OtherId, Self::LaunchedLater, Self::UserData, Self::EndLongAgo, Self::NoticeLongAgo];

    /// Whether it is about what is asked for at the boot only.
    #[must_use]
    pub fn is_of_boot(self) -> bool {
        matches!(self, Self::OtherId | Self::LaunchedLater | Self::UserData)
    }
}
