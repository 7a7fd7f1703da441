-- Those that read the log and do what follows from it: one row each, in the hand of one process at a time.

create table followers (
    name text primary key,
    -- what follows from every event up to here has been done, or the event lies set aside
    position bigint not null default 0,
    epoch bigint not null default 0,
    leader text,
    lease_until timestamptz,
    moved_at timestamptz
) with (fillfactor = 20, autovacuum_vacuum_threshold = 50);

-- events from which nothing could follow for a reason of our own; they are tried again, and nobody waits for them
create table followers_set_aside (
    follower text not null,
    position bigint not null,
    flow_id uuid not null,
    version bigint not null,
    error text not null,
    attempts int not null default 1,
    since timestamptz not null,
    retry_at timestamptz not null,
    primary key (follower, position)
);
create index followers_set_aside_retry_at_idx on followers_set_aside (follower, retry_at);
