//! Which route a delivery came by.

/// A webhook's route, with its parts as they stand in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub(super) provider: String,
    pub(super) integration: Option<String>,
}

impl Route {
    /// The route of a provider: `/{provider}/webhook`.
    #[must_use]
    pub fn provider(provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            integration: None,
        }
    }

    /// The route of an integration, by uid or number: `/{provider}/{id}/webhook`.
    #[must_use]
    pub fn integration(provider: impl Into<String>, integration: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            integration: Some(integration.into()),
        }
    }
}
