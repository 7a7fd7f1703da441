-- The questions that wait for somebody, oldest first: the inbox of a tenant.

create index flow_state_extensions_v1_inputs_idx on flow_state_extensions_v1
    (client_account_id, engagement_id, (input_request ->> 'requested_at') collate "C", flow_id)
    where input_request is not null;
