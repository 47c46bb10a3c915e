//! The acting part: sockets and processes.
