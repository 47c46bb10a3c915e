//! A reader that goes before all is written.

use std::io::Write;

use harness::Output;

/// A pipe whose reader goes after so many writes.
pub(super) struct Head {
    pub(super) left: usize,
    pub(super) to: Output,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.left = self.left.checked_sub(1).ok_or(std::io::ErrorKind::BrokenPipe)?;
        self.to.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
