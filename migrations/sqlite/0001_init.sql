-- Where an index has a `where` clause, the statements that need it repeat that clause word for
-- word, with literals instead of parameters: neither planner proves it from a bound value.
-- The first table is quoted: with a prefix such as `a` its name is a keyword.
-- State columns have no check, so that a newer version may add a state.
-- A length check holds for a null by itself; a JSON check does not in older versions of SQLite.
-- Times are RFC 3339 in UTC with six digits of a second, which sort as text.

create table "{{prefix}}s" (
    id integer primary key autoincrement,
    uid text not null unique check (length(uid) <= 26),
    provider text not null check (length(provider) <= 64),
    name text not null check (length(name) <= 255),
    credentials text,
    metadata text check (metadata is null or json_valid(metadata)),
    owner_type text check (length(owner_type) <= 255),
    owner_id integer,
    is_active integer not null default 1 check (is_active in (0, 1)),
    parks_webhooks integer not null default 0 check (parks_webhooks in (0, 1)),
    health_status text not null default 'healthy' check (length(health_status) <= 16),
    consecutive_failures integer not null default 0,
    last_error_at text,
    last_synced_at text,
    next_sync_at text,
    sync_interval_minutes integer,
    sync_cursor text check (sync_cursor is null or json_valid(sync_cursor)),
    owner_key text check (length(owner_key) <= 191),
    credentials_generation integer not null default 0,
    authorization_status text not null default 'ok' check (length(authorization_status) <= 32),
    consecutive_sync_failures integer not null default 0,
    sync_lease_holder text check (length(sync_lease_holder) <= 64),
    sync_lease_until text,
    sync_fence integer not null default 0,
    circuit_override text check (length(circuit_override) <= 16),
    circuit_override_until text,
    rate_override text check (rate_override is null or json_valid(rate_override)),
    rate_override_until text,
    sync_stale_at text,
    removed_at text,
    created_at text not null,
    updated_at text not null
) strict;

create index {{prefix}}s_provider_idx on "{{prefix}}s" (provider);
create index {{prefix}}s_owner_id_idx on "{{prefix}}s" (owner_type, owner_id);
create index {{prefix}}s_owner_key_idx on "{{prefix}}s" (owner_type, owner_key);
create index {{prefix}}s_health_idx on "{{prefix}}s" (health_status);
create index {{prefix}}s_due_idx on "{{prefix}}s" (next_sync_at, id)
    where is_active and removed_at is null and next_sync_at is not null;

-- `retry_of` and `sync_log_id` are not foreign keys: pruning must not rewrite rows.
create table {{prefix}}_requests (
    id integer primary key autoincrement,
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    endpoint text not null check (length(endpoint) <= 255),
    method text not null check (length(method) <= 10),
    status_code integer,
    request_data text,
    idempotency_key text check (length(idempotency_key) <= 191),
    provider_request_id text check (length(provider_request_id) <= 128),
    response_data text,
    error text,
    duration_ms integer,
    retry_of integer,
    related_type text check (length(related_type) <= 255),
    related_id integer,
    cache_hits integer not null default 0,
    stale_hits integer not null default 0,
    attempt integer not null default 1,
    failure_class text check (length(failure_class) <= 16),
    path text,
    related_key text check (length(related_key) <= 191),
    sync_log_id integer,
    headers text,
    created_at text not null,
    updated_at text not null
) strict;

create index {{prefix}}_requests_created_idx on {{prefix}}_requests (integration_id, created_at);
create index {{prefix}}_requests_retry_of_idx on {{prefix}}_requests (retry_of)
    where retry_of is not null;
create index {{prefix}}_requests_idempotency_idx on {{prefix}}_requests (idempotency_key)
    where idempotency_key is not null;
create index {{prefix}}_requests_provider_id_idx on {{prefix}}_requests (provider_request_id)
    where provider_request_id is not null;
create index {{prefix}}_requests_related_idx on {{prefix}}_requests (related_type, related_id)
    where related_type is not null and related_id is not null;
create index {{prefix}}_requests_failure_idx
    on {{prefix}}_requests (integration_id, failure_class, created_at)
    where failure_class is not null;

create table {{prefix}}_logs (
    id integer primary key autoincrement,
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    operation text not null check (length(operation) <= 255),
    direction text not null check (length(direction) <= 16),
    status text not null check (length(status) <= 32),
    summary text,
    external_id text check (length(external_id) <= 500),
    metadata text check (metadata is null or json_valid(metadata)),
    result_data text check (result_data is null or json_valid(result_data)),
    error text,
    duration_ms integer,
    parent_id integer references {{prefix}}_logs (id) on delete set null,
    created_at text not null,
    updated_at text not null
) strict;

create index {{prefix}}_logs_created_idx on {{prefix}}_logs (integration_id, created_at);
create index {{prefix}}_logs_operation_idx
    on {{prefix}}_logs (integration_id, operation, created_at);
create index {{prefix}}_logs_status_idx on {{prefix}}_logs (integration_id, status);
create index {{prefix}}_logs_parent_idx on {{prefix}}_logs (parent_id) where parent_id is not null;

create table {{prefix}}_mappings (
    id integer primary key autoincrement,
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    external_id text not null check (length(external_id) <= 500),
    internal_type text not null check (length(internal_type) <= 255),
    internal_id text not null check (length(internal_id) <= 255),
    source_version text,
    content_hash blob,
    last_seen_run integer,
    created_at text not null,
    updated_at text not null,
    constraint {{prefix}}_mappings_external_key
        unique (integration_id, external_id, internal_type)
) strict;

create index {{prefix}}_mappings_internal_idx
    on {{prefix}}_mappings (integration_id, internal_type, internal_id);

create table {{prefix}}_idempotency_keys (
    id integer primary key autoincrement,
    uid text not null unique check (length(uid) <= 26),
    integration_id integer not null
        constraint {{prefix}}_idempotency_keys_integration_fkey
        references "{{prefix}}s" (id) on delete cascade,
    key text not null check (length(key) <= 191),
    state text not null check (length(state) <= 16),
    reservation_token text not null check (length(reservation_token) <= 26),
    reserved_until text not null,
    fingerprint blob,
    request_id integer,
    status_code integer,
    sealed_answer text,
    settled_at text,
    resolution text,
    created_at text not null,
    updated_at text not null,
    constraint {{prefix}}_idempotency_keys_key_key unique (integration_id, key)
) strict;

create index {{prefix}}_idempotency_keys_created_idx
    on {{prefix}}_idempotency_keys (created_at, id);
create index {{prefix}}_idempotency_keys_open_idx
    on {{prefix}}_idempotency_keys (state, reserved_until) where state <> 'succeeded';

-- `run_id` is not a foreign key: the check would read the run's row for every item of every page.
create table {{prefix}}_sync_items (
    id integer primary key autoincrement,
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    batch_id text check (length(batch_id) <= 36),
    sync_log_id integer references {{prefix}}_logs (id) on delete set null,
    event_class text not null check (length(event_class) <= 255),
    external_id text check (length(external_id) <= 500),
    checkpoint_value text check (checkpoint_value is null or json_valid(checkpoint_value)),
    status text not null default 'pending' check (length(status) <= 16),
    error text,
    attempts integer not null default 0,
    completed_at text,
    run_id integer not null,
    stream text not null default 'default' check (length(stream) <= 64),
    payload text,
    payload_encoding text not null default 'utf8' check (length(payload_encoding) <= 8),
    checkpoint_order text,
    digest blob,
    available_at text not null,
    lease_until text,
    lease_token text check (length(lease_token) <= 26),
    created_at text not null,
    updated_at text not null
) strict;

-- States, and within each the versions of a stream: cursors look there for the lowest and greatest.
create index {{prefix}}_sync_items_status_idx
    on {{prefix}}_sync_items (integration_id, status, stream, checkpoint_order);
create index {{prefix}}_sync_items_created_idx
    on {{prefix}}_sync_items (integration_id, created_at);
create index {{prefix}}_sync_items_log_idx on {{prefix}}_sync_items (sync_log_id, status);
create index {{prefix}}_sync_items_batch_idx on {{prefix}}_sync_items (batch_id, status)
    where batch_id is not null;
create index {{prefix}}_sync_items_claim_idx
    on {{prefix}}_sync_items (integration_id, available_at, id) where completed_at is null;
-- The unresolved versions of a record: claims pass over those that must wait for another. By an
-- expression, so that no index on the plain column is taken in its stead while the table is small.
-- Compare it with the like: SQLite gives no index to an expression beside a plain column.
create index {{prefix}}_sync_items_record_idx
    on {{prefix}}_sync_items (coalesce(integration_id, 0), external_id)
    where external_id is not null and status not in ('success', 'skipped');

create table {{prefix}}_sync_runs (
    id integer primary key autoincrement,
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    stream text not null check (length(stream) <= 64),
    log_id integer references {{prefix}}_logs (id) on delete set null,
    fence integer not null,
    state text not null default 'running' check (length(state) <= 16),
    page_token text check (page_token is null or json_valid(page_token)),
    enumerated integer not null default 0 check (enumerated in (0, 1)),
    enumeration_error text,
    full_resync integer not null default 0 check (full_resync in (0, 1)),
    sorted integer not null default 0 check (sorted in (0, 1)),
    reached text,
    covered text,
    next_cursor text check (next_cursor is null or json_valid(next_cursor)),
    items_open integer not null default 0,
    items_total integer not null default 0,
    items_succeeded integer not null default 0,
    items_failed integer not null default 0,
    items_skipped integer not null default 0,
    duplicates integer not null default 0,
    started_at text not null,
    ended_at text,
    created_at text not null,
    updated_at text not null
) strict;

create index {{prefix}}_sync_runs_stream_idx on {{prefix}}_sync_runs (integration_id, stream, id);
create index {{prefix}}_sync_runs_fence_idx on {{prefix}}_sync_runs (integration_id, fence);
create index {{prefix}}_sync_runs_running_idx on {{prefix}}_sync_runs (integration_id)
    where state = 'running';
create unique index {{prefix}}_sync_runs_one_running_idx
    on {{prefix}}_sync_runs (integration_id, stream) where state = 'running';
-- For the foreign key: pruning logs looks its runs up here.
create index {{prefix}}_sync_runs_log_idx on {{prefix}}_sync_runs (log_id) where log_id is not null;

create table {{prefix}}_sync_records (
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    stream text not null check (length(stream) <= 64),
    kind text not null check (length(kind) <= 255),
    external_id text not null check (length(external_id) <= 500),
    resolved_order text,
    resolved_digest blob,
    failing_runs integer not null default 0,
    last_failed_run integer,
    last_seen_run integer,
    last_seen_order text,
    stuck_reported integer not null default 0 check (stuck_reported in (0, 1)),
    created_at text not null,
    updated_at text not null,
    primary key (integration_id, stream, kind, external_id)
) strict;

create table {{prefix}}_webhooks (
    id integer primary key autoincrement,
    uid text not null unique check (length(uid) <= 26),
    integration_id integer references "{{prefix}}s" (id) on delete cascade,
    provider text not null check (length(provider) <= 64),
    event_type text check (length(event_type) <= 255),
    delivery_id text check (length(delivery_id) <= 255),
    payload text not null,
    headers text check (headers is null or json_valid(headers)),
    status text not null default 'pending' check (length(status) <= 16),
    processed_at text,
    payload_encoding text not null default 'utf8' check (length(payload_encoding) <= 8),
    method text not null check (length(method) <= 10),
    path text not null,
    query text,
    remote_addr text check (length(remote_addr) <= 45),
    dedup_key text check (length(dedup_key) <= 255),
    body_digest blob,
    duplicate_of integer references {{prefix}}_webhooks (id) on delete cascade,
    duplicate_reason text check (length(duplicate_reason) <= 32),
    attempts integer not null default 0,
    replayed integer not null default 0 check (replayed in (0, 1)),
    queued_at text not null,
    available_at text not null,
    lease_until text,
    lease_token text check (length(lease_token) <= 26),
    ordering_key text check (length(ordering_key) <= 191),
    error text,
    created_at text not null,
    updated_at text not null
) strict;

create unique index {{prefix}}_webhooks_dedup_idx
    on {{prefix}}_webhooks (provider, coalesce(integration_id, 0), dedup_key)
    where duplicate_of is null and dedup_key is not null;
create index {{prefix}}_webhooks_created_idx on {{prefix}}_webhooks (integration_id, created_at);
create index {{prefix}}_webhooks_claim_idx
    on {{prefix}}_webhooks (coalesce(integration_id, 0),
        (case when ordering_key is null then 0 else 1 end), available_at, id)
    where status in ('pending', 'processing');
-- The first of each key comes first, and a walk goes from key to key.
create index {{prefix}}_webhooks_ordering_idx
    on {{prefix}}_webhooks (coalesce(integration_id, 0), provider, ordering_key, created_at, id)
    where ordering_key is not null and status in ('pending', 'processing');
create index {{prefix}}_webhooks_ordered_lease_idx
    on {{prefix}}_webhooks (coalesce(integration_id, 0), provider, ordering_key)
    where ordering_key is not null and lease_until is not null;
create index {{prefix}}_webhooks_duplicate_idx on {{prefix}}_webhooks (duplicate_of)
    where duplicate_of is not null;
create index {{prefix}}_webhooks_digest_idx on {{prefix}}_webhooks (body_digest)
    where body_digest is not null;

-- `request_id` is not a foreign key: pruning the request log must not rewrite rows.
create table {{prefix}}_response_cache (
    id integer primary key autoincrement,
    uid text not null unique check (length(uid) <= 26),
    integration_id integer not null references "{{prefix}}s" (id) on delete cascade,
    credentials_generation integer not null,
    method text not null check (length(method) <= 10),
    endpoint text not null check (length(endpoint) <= 255),
    cache_key blob not null,
    request_id integer,
    status_code integer not null,
    sealed integer not null check (sealed in (0, 1)),
    answer text,
    sealed_answer text,
    etag text,
    last_modified text,
    expires_at text not null,
    stale_until text,
    created_at text not null,
    updated_at text not null,
    constraint {{prefix}}_response_cache_key_key unique (integration_id, cache_key)
) strict;

create index {{prefix}}_response_cache_expires_idx on {{prefix}}_response_cache (expires_at, id);

-- Budgets, suppressions and circuit state: written on every call, and may be lost at any time.
create table {{prefix}}_gates (
    integration_id integer primary key references "{{prefix}}s" (id) on delete cascade,
    state text not null check (json_valid(state)),
    version integer not null default 0,
    created_at text not null,
    updated_at text not null
) strict;

create table {{prefix}}_leases (
    name text not null primary key check (length(name) <= 191),
    holder text check (length(holder) <= 64),
    fence integer not null default 0,
    until text,
    created_at text not null,
    updated_at text not null
) strict;

create table {{prefix}}_tokens (
    id integer primary key autoincrement,
    uid text not null unique check (length(uid) <= 26),
    digest blob not null unique,
    kind text not null check (length(kind) <= 32),
    provider text not null check (length(provider) <= 64),
    integration_id integer references "{{prefix}}s" (id) on delete cascade,
    sealed_data text,
    until text not null,
    created_at text not null,
    updated_at text not null
) strict;

create index {{prefix}}_tokens_until_idx on {{prefix}}_tokens (until);
-- For the foreign key: deleting an integration looks its tokens up here.
create index {{prefix}}_tokens_integration_idx on {{prefix}}_tokens (integration_id)
    where integration_id is not null;

create table {{prefix}}_keys (
    key_id text not null primary key check (length(key_id) <= 32),
    check_value blob not null,
    state text not null check (length(state) <= 16),
    created_at text not null,
    updated_at text not null
) strict;

create table {{prefix}}_workers (
    id text not null primary key check (length(id) <= 64),
    version text not null check (length(version) <= 64),
    kinds text not null check (json_valid(kinds)),
    started_at text not null,
    heartbeat_at text not null,
    created_at text not null,
    updated_at text not null
) strict;
