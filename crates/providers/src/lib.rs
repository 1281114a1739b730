//! Providers of the `integrations` layer, one module and one feature each.
//!
//! | feature | provider | default |
//! | --- | --- | --- |
//! | `github` | [`github::Github`] | yes |

#[cfg(feature = "github")]
pub mod github;
