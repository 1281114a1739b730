//! Cases of the `CallJournal` port.
