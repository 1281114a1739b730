//! Accounts ready to verify with: read and opened once in a while, not per delivery.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use integrations_core::{
    client::{CallErrorKind, IntegrationClient},
    id::{IntegrationId, Uid},
    integration::{HealthStatus, Integration, IntegrationFilter, IntegrationRef, Scope},
    provider::{Account, Credentials, Registered, WebhookSource},
    redact::Redactor,
    store::{PageRequest, StoreError},
    value::ProviderKey,
    webhook::WebhookSecrets,
};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::schemes::{Refusal, Verifier};

/// For how long an account is believed without looking: within it, what another process changed is
/// not seen. What this process changed is seen at once, where reading is quick.
const TRUSTED: Duration = Duration::from_secs(1);

/// An account younger than this is not read again before a delivery is refused.
const YOUNG: Duration = Duration::from_millis(100);

/// Accounts kept for routes of their own.
const MAX_KEPT: usize = 4096;

/// Integrations of one provider that its own route looks at.
const MAX_CANDIDATES: usize = 20_000;

/// An account that deliveries may be for.
pub(super) struct Recipient {
    pub(super) id: IntegrationId,
    uid: Uid,
    integration: Integration,
    /// Opened when the first delivery asks for it.
    opened: OnceCell<Opened>,
    /// Of the account that was opened.
    redactor: OnceLock<Arc<Redactor>>,
}

/// What an account verifies with.
pub(super) struct Opened {
    pub(super) verifier: Result<Verifier, Refusal>,
    pub(super) secrets: Option<WebhookSecrets>,
    /// The secret is the account's own, and not the application's.
    pub(super) is_own: bool,
}

impl Recipient {
    fn new(integration: Integration) -> Self {
        Self {
            id: integration.id,
            uid: integration.uid,
            integration,
            opened: OnceCell::new(),
            redactor: OnceLock::new(),
        }
    }

    /// Whether the operator switched it off, webhooks included.
    pub(super) fn is_switched_off(&self) -> bool {
        !self.integration.is_active && !self.integration.parks_webhooks
    }

    /// Whether deliveries wait until it works again.
    pub(super) fn is_paused(&self) -> bool {
        !self.integration.is_active || self.integration.health.status == HealthStatus::Disabled
    }

    /// What stands between its deliveries and the store, once it is opened.
    pub(super) fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.redactor.get()
    }

    /// Opens the account, once.
    pub(super) async fn opened(
        &self,
        client: &IntegrationClient,
        source: &dyn WebhookSource,
        registered: &Registered,
    ) -> Result<&Opened, NotOpened> {
        let open = async || {
            let credentials = client.open_credentials(&self.integration).await;
            let credentials = credentials.map_err(|error| {
                tracing::error!(integration = %self.id, %error, "a webhook cannot be verified");
                match error.kind() {
                    CallErrorKind::Store => NotOpened::ForNow,
                    _ => NotOpened::Refused(Refusal::Credentials),
                }
            })?;
            let none = Credentials::new();
            let own = Account::of(&self.integration, &credentials, &none);
            let is_own = source.secrets(&own).is_some();
            let application = &registered.settings.application;
            let account = Account::of(&self.integration, &credentials, application);
            (self.redactor).get_or_init(|| Arc::new(client.redactor_for(registered, &account)));
            Ok(Opened::new(source, &account, is_own))
        };
        self.opened.get_or_try_init(open).await
    }

    /// Takes over what was opened, where row and credentials are the same.
    fn adopt(self, known: Option<&Arc<Self>>) -> Arc<Self> {
        let same = known.filter(|known| {
            let (old, new) = (&known.integration, &self.integration);
            old.uid == new.uid
                && old.credentials_generation == new.credentials_generation
                && old.metadata == new.metadata
                && old.is_active == new.is_active
                && old.parks_webhooks == new.parks_webhooks
                && old.health.status == new.health.status
        });
        // Other columns play no part here.
        same.map_or_else(|| Arc::new(self), Arc::clone)
    }
}

/// An account could not be opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotOpened {
    /// It does not open.
    Refused(Refusal),
    /// Not at the moment.
    ForNow,
}

impl Opened {
    pub(super) fn new(source: &dyn WebhookSource, account: &Account<'_>, is_own: bool) -> Self {
        let secrets = match source.secrets(account) {
            None => Err(Refusal::NoSecret),
            Some(secrets) => secrets.map_err(|_| Refusal::UnusableSecret),
        };
        let scheme = source.scheme(account).map_err(|_| Refusal::NoScheme);
        let verifier = match (scheme, &secrets) {
            (Ok(scheme), Ok(secrets)) => Verifier::new(scheme, secrets),
            (Err(refusal), _) => Err(refusal),
            (_, Err(refusal)) => Err(*refusal),
        };
        Self {
            verifier,
            secrets: secrets.ok(),
            is_own,
        }
    }
}

/// Everybody a delivery to a provider's own route may be for.
#[derive(Default)]
pub(super) struct Candidates {
    all: Vec<Arc<Recipient>>,
    named: HashMap<String, Vec<usize>>,
    unnamed: Vec<usize>,
}

impl Candidates {
    /// Those a delivery for `name` may be for, the named ones first.
    pub(super) fn of(&self, name: Option<&str>) -> impl Iterator<Item = (&Arc<Recipient>, bool)> {
        let named = name.and_then(|name| self.named.get(name));
        let named = named.into_iter().flatten().map(|at| (*at, true));
        // Without a name, everybody may be meant.
        let rest: Box<dyn Iterator<Item = usize> + Send> = match name {
            Some(_) => Box::new(self.unnamed.iter().copied()),
            None => Box::new(0..self.all.len()),
        };
        named
            .chain(rest.map(|at| (at, false)))
            .filter_map(|(at, is_named)| Some((self.all.get(at)?, is_named)))
    }
}

struct Kept<T> {
    value: T,
    /// What the client had changed before this was read.
    changes: u64,
    read_at: Duration,
    trusted_for: Duration,
}

impl<T: Clone> Kept<T> {
    fn younger_than(&self, age: Duration, now: Now) -> Option<T> {
        // What takes long to read is not read anew at every change.
        let stands = self.changes == now.changes || self.trusted_for > TRUSTED;
        let is_young = now.at.saturating_sub(self.read_at) < age;
        (stands && is_young).then(|| self.value.clone())
    }
}

/// The moment of a look.
#[derive(Clone, Copy)]
struct Now {
    at: Duration,
    changes: u64,
}

/// Whether a look at what is kept will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// What is trusted will do.
    Kept,
    /// Only what was read this very moment: something would be refused otherwise.
    Fresh,
}

type KeptRecipients = HashMap<(ProviderKey, IntegrationRef), Kept<Arc<Recipient>>>;
type KeptCandidates = Arc<AsyncMutex<Option<Kept<Arc<Candidates>>>>>;

/// The accounts of all providers.
pub(super) struct Accounts {
    client: IntegrationClient,
    by_reference: Mutex<KeptRecipients>,
    by_provider: Mutex<HashMap<ProviderKey, KeptCandidates>>,
}

impl Accounts {
    pub(super) fn new(client: IntegrationClient) -> Self {
        Self {
            client,
            by_reference: Mutex::default(),
            by_provider: Mutex::default(),
        }
    }

    fn now(&self) -> Now {
        Now {
            at: self.client.ports().clock.monotonic(),
            changes: self.client.changes(),
        }
    }

    /// The integration of a route of its own; `None` where there is none of that provider.
    pub(super) async fn named(
        &self,
        provider: &ProviderKey,
        reference: IntegrationRef,
        look: Look,
    ) -> Result<Option<Arc<Recipient>>, StoreError> {
        let key = (provider.clone(), reference);
        let now = self.now();
        let known = {
            let kept = lock(&self.by_reference);
            let found = kept.get(&key);
            let age = found.map_or(TRUSTED, |kept| kept.trusted_for);
            let age = if look == Look::Fresh { YOUNG } else { age };
            if let Some(recipient) = found.and_then(|kept| kept.younger_than(age, now)) {
                return Ok(Some(recipient));
            }
            found.map(|kept| Arc::clone(&kept.value))
        };
        let store = &self.client.ports().integrations;
        let found = store.find(reference, &Scope::Operator).await?;
        let found = found.filter(|integration| integration.provider == *provider);
        let mut kept = lock(&self.by_reference);
        let Some(integration) = found else {
            kept.remove(&key);
            return Ok(None);
        };
        let recipient = Recipient::new(integration).adopt(known.as_ref());
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, kept| kept.younger_than(kept.trusted_for, now).is_some());
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
        }
        let entry = Kept {
            value: Arc::clone(&recipient),
            changes: now.changes,
            read_at: now.at,
            trusted_for: TRUSTED,
        };
        kept.insert(key, entry);
        Ok(Some(recipient))
    }

    /// The integrations of a provider.
    pub(super) async fn candidates(
        &self,
        provider: &ProviderKey,
        source: &dyn WebhookSource,
        look: Look,
    ) -> Result<Arc<Candidates>, StoreError> {
        let slot = {
            let mut slots = lock(&self.by_provider);
            Arc::clone(slots.entry(provider.clone()).or_default())
        };
        // One reads, the others wait for it.
        let mut slot = slot.lock().await;
        let now = self.now();
        if let Some(kept) = &*slot {
            let young = YOUNG.max(kept.trusted_for / 10);
            let age = if look == Look::Fresh {
                young
            } else {
                kept.trusted_for
            };
            if let Some(candidates) = kept.younger_than(age, now) {
                return Ok(candidates);
            }
        }
        let known = slot.as_ref().map(|kept| Arc::clone(&kept.value));
        let candidates = Arc::new(self.read(provider, source, known.as_deref()).await?);
        // What takes long to read is read less often.
        let took = self.now().at.saturating_sub(now.at);
        *slot = Some(Kept {
            value: Arc::clone(&candidates),
            changes: now.changes,
            read_at: now.at,
            trusted_for: TRUSTED.max(took * 20),
        });
        Ok(candidates)
    }

    async fn read(
        &self,
        provider: &ProviderKey,
        source: &dyn WebhookSource,
        known: Option<&Candidates>,
    ) -> Result<Candidates, StoreError> {
        let known: HashMap<Uid, &Arc<Recipient>> = known
            .into_iter()
            .flat_map(|known| known.all.iter().map(|one| (one.uid, one)))
            .collect();
        let filter = IntegrationFilter {
            provider: Some(provider.clone()),
            ..IntegrationFilter::default()
        };
        let none = Credentials::new();
        let mut candidates = Candidates::default();
        let mut page = PageRequest::oldest(PageRequest::MAX_LIMIT);
        loop {
            let store = &self.client.ports().integrations;
            let read = store.list(&filter, &Scope::Operator, &page).await?;
            for integration in read.items {
                let at = candidates.all.len();
                let account = Account::of(&integration, &none, &none);
                match source.recipient_of(&account) {
                    Some(name) => candidates.named.entry(name).or_default().push(at),
                    None => candidates.unnamed.push(at),
                }
                let known = known.get(&integration.uid).copied();
                candidates
                    .all
                    .push(Recipient::new(integration).adopt(known));
            }
            match read.next {
                Some(next) if candidates.all.len() < MAX_CANDIDATES => {
                    page = page.after(Some(next));
                }
                Some(_) => {
                    tracing::warn!(%provider, "not all integrations are tried on the provider's own route");
                    return Ok(candidates);
                }
                None => return Ok(candidates),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
