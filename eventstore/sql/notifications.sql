-- Whom to tell of what happens to flows, and what each is told: a row for every event and address, sent by whoever claims it.

create table subscriptions (
    id uuid primary key,
    client_account_id uuid not null,
    engagement_id uuid not null,
    kind text not null check (kind in ('webhook', 'email')),
    -- the URL or the address
    target text not null,
    description text,
    -- the news that are told; none: all
    events text[] not null,
    flow_type text,
    tag text,
    state text not null default 'active' check (state in ('active', 'disabled', 'deleted')),
    -- why it is disabled
    reason text,
    -- sealed by the key of the client account; messages are signed with both while the former one counts
    secret jsonb,
    former_secret jsonb,
    former_until timestamptz,
    -- the end of the log when it was made: what was there before is not told
    after_position bigint not null,
    created_by text not null,
    created_at timestamptz not null,
    updated_by text not null,
    updated_at timestamptz not null
);
create index subscriptions_tenant_idx on subscriptions (client_account_id, engagement_id, created_at desc, id desc)
    where state <> 'deleted';

create table notifications (
    -- follows from flow, version and addressed
    id uuid primary key,
    flow_id uuid not null,
    version bigint not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    event text not null,
    -- none: the flow itself names the address
    subscription_id uuid,
    kind text not null check (kind in ('webhook', 'email')),
    target text not null,
    -- what makes it one: `email:<address in small letters>` or `webhook:<subscription>`
    addressed text not null,
    payload json not null,
    state text not null default 'pending' check (state in ('pending', 'sent', 'dead', 'dropped')),
    attempts int not null default 0,
    replays int not null default 0,
    -- each claim has its own number, so that whoever comes late notes nothing
    claims bigint not null default 0,
    due_at timestamptz not null,
    lease_until timestamptz,
    -- the last attempts: {at, status, error, took_ms}
    tries jsonb not null default '[]',
    created_at timestamptz not null,
    ended_at timestamptz,
    unique (flow_id, version, addressed)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index notifications_addressed_idx on notifications (addressed, due_at, id) where state = 'pending';
create index notifications_due_idx on notifications (due_at) where state = 'pending';
create index notifications_leased_idx on notifications (addressed, lease_until)
    where state = 'pending' and lease_until is not null;
create index notifications_tenant_idx on notifications (client_account_id, engagement_id, created_at desc, id desc);
create index notifications_subscription_idx on notifications (subscription_id) where state = 'pending';
create index notifications_dead_idx on notifications (ended_at) where state = 'dead';
create index notifications_ended_idx on notifications (ended_at) where ended_at is not null;

insert into followers (name, position) select 'notifications', coalesce(max(notification_id), 0) from stored_events;
