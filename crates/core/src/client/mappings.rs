//! The id mappings of an integration.

use std::sync::Arc;

use super::IntegrationHandle;
use crate::mapping::{MappingError, Mappings};

impl IntegrationHandle {
    /// The integration's id mappings. Looks it up within the scope, so take them before a
    /// transaction is begun, and work [`within`](Mappings::within) it then.
    ///
    /// # Errors
    ///
    /// Returns [`MappingError::NoIntegration`] when there is none within the scope, and
    /// [`MappingError::Store`] if the store failed.
    pub async fn mappings(&self) -> Result<Mappings<'static>, MappingError> {
        let row = self.find().await?.ok_or(MappingError::NoIntegration)?;
        let ports = &self.shared.ports;
        Ok(Mappings::new(
            Arc::clone(&ports.mappings),
            Arc::clone(&ports.clock),
            row.id,
        ))
    }
}
