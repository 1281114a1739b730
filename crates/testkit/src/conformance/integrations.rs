//! Cases of the `IntegrationStore` port.
