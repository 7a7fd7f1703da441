-- The audit trail: a read model of the command log and of history, what it was made under, and what was removed of it.

-- what is kept from sight, as it was when entries were made: verification makes them again under the same
create table audit_policies (
    id smallint primary key generated always as identity,
    document text not null unique,
    first_used_at timestamptz not null
);

-- `place` is that of the row of the command log (`n`) or of the event (`notification_id`), `part` tells entries of one origin apart
create table audit_events_v1 (
    source text not null check (source in ('command', 'event')),
    place bigint not null,
    part smallint not null,
    id uuid not null,
    at timestamptz not null,
    category text not null,
    level text not null,
    operation text not null,
    actor text not null,
    client_account_id uuid not null,
    engagement_id uuid not null,
    ip_address text,
    user_agent text,
    flow_id uuid,
    version bigint,
    outcome text not null,
    error_code text,
    correlation_id text not null,
    causation_id text,
    reason text,
    details jsonb not null,
    restricted boolean not null,
    policy smallint not null,
    primary key (source, place, part)
) with (autovacuum_analyze_scale_factor = 0.02);
create index audit_events_v1_tenant_idx on audit_events_v1 (client_account_id, engagement_id, at desc, id desc);
create index audit_events_v1_flow_idx on audit_events_v1 (flow_id, at desc, id desc);
create index audit_events_v1_correlation_idx on audit_events_v1 (correlation_id);
-- the few that reports look for
create index audit_events_v1_notable_idx on audit_events_v1 (client_account_id, engagement_id, category, at desc)
    where category in ('security_event', 'compliance_event', 'error_event');

create view audit_events as
select id, at, category, level, operation, actor, client_account_id, engagement_id, ip_address, user_agent, flow_id, version,
       outcome, error_code, correlation_id, causation_id, reason, details, restricted, source, place, part
from audit_events_v1;
comment on view audit_events is 'The audit trail: one row for each command, and for what the system did; restricted rows are for operators';

-- it goes through the log as a follower does; how far it is in the command log lies beside
insert into followers (name, position) values ('audit_events', 0);
create table audit_progress (
    only_row boolean primary key default true check (only_row),
    commands_upto bigint not null default 0
);
insert into audit_progress default values;

-- how long entries of a category are kept; none: for ever
create table audit_retention (
    client_account_id uuid not null,
    category text not null,
    keep_days int not null check (keep_days > 0),
    set_by text not null,
    set_at timestamptz not null,
    primary key (client_account_id, category)
);

-- what must not be removed whatever its age: a flow's entries, or an engagement's
create table audit_holds (
    id uuid primary key,
    client_account_id uuid not null,
    engagement_id uuid not null,
    flow_id uuid,
    reason text not null,
    placed_by text not null,
    placed_at timestamptz not null,
    released_by text,
    released_at timestamptz
);
create index audit_holds_account_idx on audit_holds (client_account_id) where released_at is null;

-- entries that retention removed whose event is still in history: SHA-256 of each, so that it can be told from one that is missing
create table audit_events_removed (
    source text not null,
    place bigint not null,
    part smallint not null,
    policy smallint not null,
    hash bytea not null check (octet_length(hash) = 32),
    primary key (source, place, part)
);

-- rows of the command log that retention removed: what a leaf of the checkpoints needs of them
create table command_log_removed (
    n bigint primary key,
    client_account_id uuid not null,
    digest bytea not null check (octet_length(digest) = 32),
    removed_at timestamptz not null
);

-- the leaves of the command log: rows as they are, or the digest of what they were
create view command_leaves as
select n, at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version, position, error,
       correlation_id, causation_id, expected_version, ip_address, user_agent, body, null::bytea as digest
from command_log
union all
select n, removed_at, client_account_id, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
       null, digest
from command_log_removed;

do $$
begin
    if exists (select from pg_roles where rolname = 'mfo_reader') then
        grant select on audit_events to mfo_reader;
    end if;
exception when insufficient_privilege then
    raise notice 'mfo_reader was given no rights: %', sqlerrm;
end
$$;
