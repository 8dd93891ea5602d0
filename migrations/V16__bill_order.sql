-- Bills are read by tenants in their order, some at a time (docs/decisions/044).

CREATE INDEX tenant_bill ON tenant (organization_id, name, tenant_id);
DROP INDEX tenant_organization;
