-- Flows of which several phases ask at the same time: their questions but the first lie in flow_metadata.

create index flow_state_extensions_v1_inputs_beside_idx on flow_state_extensions_v1
    (client_account_id, engagement_id)
    where input_request ? 'also_asking';
