-- A part of a name is what a suffix of it begins with. So a search is one range of an ordered index, whatever names have in
-- common; of trigrams, an index has to read through those that all names share (docs/decisions/007).

-- A catalog that is being applied ends first, and others wait; reports go on.
LOCK TABLE tenant IN SHARE ROW EXCLUSIVE MODE;

-- Both forms of the small sigma are one letter, whose capital is one.
UPDATE tenant SET search_text = translate(search_text, 'ς', 'σ') WHERE search_text LIKE '%ς%';

CREATE FUNCTION name_suffixes(name text) RETURNS TABLE (suffix text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT DISTINCT substr(name, n, 24) FROM generate_series(1, char_length(name)) AS n
$$;
COMMENT ON FUNCTION name_suffixes IS 'Every suffix of a name, but no more than 24 characters of it.';

CREATE TABLE tenant_name_suffix (
    suffix text COLLATE "C" NOT NULL,
    tenant_key bigint NOT NULL,
    PRIMARY KEY (suffix, tenant_key)
);
COMMENT ON TABLE tenant_name_suffix IS 'Finds tenants by a part of their names. An index of tenant.search_text, kept by its triggers.';
COMMENT ON COLUMN tenant_name_suffix.suffix IS 'A suffix of the tenant''s name in lower case, its first 24 characters.';
COMMENT ON COLUMN tenant_name_suffix.tenant_key IS 'Whose name.';

CREATE TABLE organization_name_suffix (
    suffix text COLLATE "C" NOT NULL,
    organization_id uuid NOT NULL,
    PRIMARY KEY (suffix, organization_id)
);
COMMENT ON TABLE organization_name_suffix IS 'Finds organizations by a part of their names. An index of tenant.search_text, kept by its triggers.';
COMMENT ON COLUMN organization_name_suffix.suffix IS 'A suffix of the organization''s name in lower case, its first 24 characters.';
COMMENT ON COLUMN organization_name_suffix.organization_id IS 'Whose name.';

-- Suffixes are looked up one by one, whatever the planner thinks: a session keeps the plans of its first statement, which may
-- have been about one tenant or about all of them.
CREATE FUNCTION index_tenant_names() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF tg_op = 'UPDATE' THEN
        DELETE FROM tenant_name_suffix s
        USING (
            SELECT tenant_key, split_part(search_text, U&'\001F', 1) AS name FROM old_tenant
            EXCEPT
            SELECT tenant_key, split_part(search_text, U&'\001F', 1) FROM new_tenant
        ) AS former CROSS JOIN name_suffixes(former.name) AS gone
        WHERE s.suffix = gone.suffix AND s.tenant_key = former.tenant_key;

        DELETE FROM organization_name_suffix s
        USING (
            SELECT organization_id, split_part(search_text, U&'\001F', 2) AS name FROM old_tenant
            EXCEPT
            SELECT organization_id, split_part(search_text, U&'\001F', 2) FROM new_tenant
        ) AS former CROSS JOIN name_suffixes(former.name) AS gone
        WHERE s.suffix = gone.suffix AND s.organization_id = former.organization_id
          -- A tenant that moved may have left others there.
          AND former.name NOT IN (
              SELECT split_part(t.search_text, U&'\001F', 2) FROM tenant t WHERE t.organization_id = former.organization_id
          );
    END IF;

    -- The whole name is a suffix, too: where it is there, all of them are.
    INSERT INTO tenant_name_suffix (suffix, tenant_key)
    SELECT added.suffix, named.tenant_key
    FROM (SELECT tenant_key, split_part(search_text, U&'\001F', 1) AS name FROM new_tenant) AS named
        CROSS JOIN name_suffixes(named.name) AS added
    WHERE NOT EXISTS (
        SELECT FROM tenant_name_suffix s WHERE s.suffix = substr(named.name, 1, 24) AND s.tenant_key = named.tenant_key
    )
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;

    INSERT INTO organization_name_suffix (suffix, organization_id)
    SELECT added.suffix, named.organization_id
    FROM (SELECT DISTINCT organization_id, split_part(search_text, U&'\001F', 2) AS name FROM new_tenant) AS named
        CROSS JOIN name_suffixes(named.name) AS added
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
-- Who may use it in triggers of their own tables would write to these.
REVOKE EXECUTE ON FUNCTION index_tenant_names FROM PUBLIC;
COMMENT ON FUNCTION index_tenant_names IS 'Keeps the suffixes of names as tenant.search_text has them.';

CREATE TRIGGER tenant_names_inserted AFTER INSERT ON tenant
    REFERENCING NEW TABLE AS new_tenant
    FOR EACH STATEMENT EXECUTE FUNCTION index_tenant_names();
CREATE TRIGGER tenant_names_updated AFTER UPDATE ON tenant
    REFERENCING OLD TABLE AS old_tenant NEW TABLE AS new_tenant
    FOR EACH STATEMENT EXECUTE FUNCTION index_tenant_names();

-- What is there already.
INSERT INTO tenant_name_suffix (suffix, tenant_key)
SELECT suffix, tenant_key
FROM tenant CROSS JOIN name_suffixes(split_part(search_text, U&'\001F', 1))
ORDER BY suffix, tenant_key;
INSERT INTO organization_name_suffix (suffix, organization_id)
SELECT suffix, organization_id
FROM (SELECT DISTINCT organization_id, split_part(search_text, U&'\001F', 2) AS name FROM tenant) AS named
    CROSS JOIN name_suffixes(named.name)
ORDER BY suffix, organization_id;
ANALYZE tenant_name_suffix, organization_name_suffix;
