-- Operations over many flows, standing pauses and rules: where each stands, written with its events, and when the service has to
-- see to it.

create table operations (
    id uuid primary key,
    version bigint not null check (version > 0),
    client_account_id uuid not null,
    engagement_id uuid not null,
    state text not null check (state in ('running', 'paused', 'completed', 'cancelled')),
    created_at timestamptz not null,
    -- the folded history at `version`, as JSON
    snapshot bytea not null,
    -- pushed on by whoever has it in hand, so that another one takes over when that one dies; null: nothing is to be done
    wake_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
create index operations_wake_idx on operations (wake_at) where wake_at is not null;
create index operations_tenant_idx on operations (client_account_id, engagement_id, created_at, id);

create table standing_pauses (
    id uuid primary key,
    version bigint not null check (version > 0),
    client_account_id uuid not null,
    engagement_id uuid not null,
    state text not null check (state in ('active', 'removed')),
    created_at timestamptz not null,
    snapshot bytea not null,
    wake_at timestamptz
) with (fillfactor = 70);
create index standing_pauses_active_idx on standing_pauses (created_at, id) where state = 'active';
create index standing_pauses_wake_idx on standing_pauses (wake_at) where wake_at is not null;
create index standing_pauses_tenant_idx on standing_pauses (client_account_id, engagement_id, created_at, id);

create table pause_rules (
    id uuid primary key,
    version bigint not null check (version > 0),
    client_account_id uuid not null,
    engagement_id uuid not null,
    state text not null check (state in ('armed', 'tripped', 'deleted')),
    created_at timestamptz not null,
    snapshot bytea not null,
    wake_at timestamptz
) with (fillfactor = 70);
create index pause_rules_armed_idx on pause_rules (client_account_id, engagement_id) where state = 'armed';
create index pause_rules_wake_idx on pause_rules (wake_at) where wake_at is not null;
create index pause_rules_tenant_idx on pause_rules (client_account_id, engagement_id, created_at, id);

create function operations_news() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.version <> old.version then
        perform pg_notify('mfo_operations', current_schema());
    end if;
    return null;
end
$$;
create trigger operations_news after insert or update on operations for each row execute function operations_news();
create trigger standing_pauses_news after insert or update on standing_pauses for each row execute function operations_news();
create trigger pause_rules_news after insert or update on pause_rules for each row execute function operations_news();

-- Apart from the row of the operation, which is written under the store's lock and must never be waited for there.
create table operation_progress (
    operation_id uuid primary key,
    owner text not null,
    -- how many flows were chosen, and where in the log the read model stood
    total int,
    position bigint,
    accepted int not null default 0,
    refused int not null default 0,
    parked int not null default 0,
    -- flows a second, as of late
    per_second double precision,
    began_at timestamptz,
    moved_at timestamptz
) with (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

create table operation_flows (
    operation_id uuid not null,
    n int not null,
    flow_id uuid not null,
    -- accepted, refused or parked; null: not asked yet
    outcome text,
    version bigint,
    code text,
    detail text,
    at timestamptz,
    primary key (operation_id, n)
) with (fillfactor = 70);
create index operation_flows_left_idx on operation_flows (operation_id, n) where outcome is null;

-- Which standing pauses there are: raised by every change of one, under the store's lock. Whoever makes flows says which number
-- it decided on, and what it decided counts only if that still holds.
create table standing (
    only_row boolean primary key default true check (only_row),
    number bigint not null default 1
) with (fillfactor = 20);
insert into standing default values;

-- One row, a zero, if the standing pauses are still those of this number, else none. Takes the store's lock, so that they stay so
-- until the end of the transaction.
create function standing_as_of(known bigint) returns setof double precision language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtext(current_schema()), 1);
    if (select number from standing) = known then
        return next 0.0;
    end if;
end
$$;

-- What rules count, by the minute: `pause_rules` reads it, and forgets what has left the window.
create table pause_rule_counts (
    pause_rule_id uuid not null,
    -- the rule's version since which it counts
    armed bigint not null,
    minute timestamptz not null,
    ended int not null default 0,
    failed int not null default 0,
    tokens_used bigint not null default 0,
    flows_begun int not null default 0,
    primary key (pause_rule_id, armed, minute)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

insert into followers (name, position) select 'pause_rules', coalesce(max(notification_id), 0) from stored_events;
