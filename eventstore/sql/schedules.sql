-- Schedules: where each one stands, written with its events, and when it is to be looked at next.

create table schedules (
    id uuid primary key,
    version bigint not null check (version > 0),
    client_account_id uuid not null,
    engagement_id uuid not null,
    name text not null,
    state text not null check (state in ('active', 'paused', 'ended', 'deleted')),
    flow_type text not null,
    created_at timestamptz not null,
    -- the folded history at `version`, as JSON: a schedule that has fired for years is read as fast as a new one
    snapshot bytea not null,
    -- pushed on by whoever looks after it, so that another one does when that one dies; null: nothing comes by itself
    wake_at timestamptz,
    -- it waits for something else than its own next time, and is to be looked at again whatever the clock does
    waits boolean not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index schedules_wake_idx on schedules (wake_at) where wake_at is not null;
create index schedules_waits_idx on schedules (wake_at) where waits;
create index schedules_tenant_idx on schedules (client_account_id, engagement_id, created_at, id);

-- only what was decided is news; being looked after is not
create function schedules_news() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.version <> old.version then
        perform pg_notify('mfo_schedules', current_schema());
    end if;
    return null;
end
$$;
create trigger schedules_news after insert or update on schedules for each row execute function schedules_news();
