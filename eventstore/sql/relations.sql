-- Who stands how to whom among flows: written by the follower of relations, from FlowCreated.

create table flow_links (
    -- 'child': `flow_id` is a child of `other_id`; 'waits': it waits for it before it begins
    kind text not null check (kind in ('child', 'waits')),
    other_id uuid not null,
    flow_id uuid not null,
    primary key (other_id, kind, flow_id)
);
create index flow_links_flow_idx on flow_links (flow_id, kind);

-- trees are read by parent
create index flow_state_extensions_v1_parent_idx on flow_state_extensions_v1 (parent_flow_id)
    where parent_flow_id is not null;

insert into followers (name, position) select 'relations', coalesce(max(notification_id), 0) from stored_events;
