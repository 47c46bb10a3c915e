//! The instance metadata service.
