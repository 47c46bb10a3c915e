//! What AWS's protocols share.
