-- Signed checkpoints of history and of the command log.

-- the command log in the order of its commits: both who append to it hold the store lock
create sequence command_log_n_seq;
alter table command_log add column n bigint not null default nextval('command_log_n_seq');
alter sequence command_log_n_seq owned by command_log.n;
create index command_log_n_idx on command_log using brin (n) with (pages_per_range = 16);

-- `statement` is what was signed, byte for byte; its leaves lie after the two places `_from`, which spares the signer a search
create table audit_checkpoints (
    client_account_id uuid not null,
    number bigint not null,
    made_at timestamptz not null,
    events_from bigint not null,
    commands_from bigint not null,
    statement bytea not null,
    signature bytea not null check (octet_length(signature) = 64),
    key_id text not null,
    published_at timestamptz,
    primary key (client_account_id, number)
);
create index audit_checkpoints_unpublished_idx on audit_checkpoints (made_at) where published_at is null;

-- the public halves of all keys that ever signed here
create table audit_keys (
    key_id text primary key,
    public_key bytea not null check (octet_length(public_key) = 32),
    first_used_at timestamptz not null,
    last_used_at timestamptz not null
);

-- accounts whose last checkpoint does not hold any more; nothing further is signed for them
create table audit_refused (
    client_account_id uuid primary key,
    why text not null,
    since timestamptz not null
);

-- the signer goes through the log as a follower does; how far it is in the command log lies beside
insert into followers (name, position) values ('checkpoints', 0);
create table audit_signer (
    only_row boolean primary key default true check (only_row),
    commands_upto bigint not null default 0
);
insert into audit_signer default values;
