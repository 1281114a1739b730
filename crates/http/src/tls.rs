//! The TLS configuration: `rustls` over `ring`, the system's root certificates and extra ones.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::builder::BuildError;

/// A configuration that names its provider, so that none need be installed for the process.
pub(crate) fn client_config(extra_roots_pem: &[Vec<u8>]) -> Result<ClientConfig, BuildError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| BuildError::Tls)?
        .with_root_certificates(roots(extra_roots_pem)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(extra_pem: &[Vec<u8>]) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    // A system has certificates that cannot be parsed; the others are still good.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for pem in extra_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| BuildError::RootCertificate)?;
            roots
                .add(certificate)
                .map_err(|_| BuildError::RootCertificate)?;
            found = true;
        }
        if !found {
            return Err(BuildError::RootCertificate);
        }
    }
    if roots.is_empty() {
        tracing::warn!("no root certificates found: every https:// request will fail");
    }
    Ok(roots)
}
