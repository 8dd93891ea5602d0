-- The database works on each element of an array that it hands over. So the records of a block become bytes, which it hands
-- over as they are: numbers of one width, one after the other (docs/decisions/056).

-- Imports that are running end first, and reports go on meanwhile. From the next statement on they wait.
LOCK TABLE usage_block IN SHARE MODE;

-- === How people with SQL read them ===

CREATE FUNCTION packed_number(numbers bytea, index integer, width integer) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE width
    WHEN 1 THEN get_byte(numbers, index)
    WHEN 2 THEN get_byte(numbers, index * 2) * 256 + get_byte(numbers, index * 2 + 1)
    WHEN 3 THEN get_byte(numbers, index * 3) * 65536 + get_byte(numbers, index * 3 + 1) * 256 + get_byte(numbers, index * 3 + 2)
    WHEN 4 THEN get_byte(numbers, index * 4) * 16777216::bigint + get_byte(numbers, index * 4 + 1) * 65536
        + get_byte(numbers, index * 4 + 2) * 256 + get_byte(numbers, index * 4 + 3)
    ELSE CASE WHEN width <= 8 THEN
        ('x' || lpad(encode(substr(numbers, index * width + 1, width), 'hex'), 16, '0'))::bit(64)::bigint
    END
END;
COMMENT ON FUNCTION packed_number IS
    'One of the numbers that stand one after the other with so many bytes each, the highest first. The index is from 0. Of eight bytes each, numbers from 2^63 on are below zero; null: of more.';

CREATE FUNCTION packed_wide_number(numbers bytea, index integer, width integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT sum(('x' || substr(digits, place::integer * 8 - 7, 8))::bit(32)::bigint * unit)
    FROM lpad(encode(substr(numbers, index * width + 1, width), 'hex'), 32, '0') AS hex (digits),
         unnest('{79228162514264337593543950336,18446744073709551616,4294967296,1}'::numeric[])
             WITH ORDINALITY AS part (unit, place)
);
COMMENT ON FUNCTION packed_wide_number IS 'As packed_number, for a width up to 16.';

-- === The columns ===

ALTER TABLE usage_block
    ADD COLUMN record_count smallint,
    ADD COLUMN first_asset_key bigint,
    ADD COLUMN last_asset_key bigint,
    ADD COLUMN asset_offsets bytea,
    ADD COLUMN kind_indexes bytea,
    ADD COLUMN coefficients bytea,
    ADD COLUMN scales bytea;
-- Compressed, they would be taken out of that form each time, and be hardly smaller.
ALTER TABLE usage_block
    ALTER COLUMN asset_offsets SET STORAGE EXTERNAL,
    ALTER COLUMN kind_indexes SET STORAGE EXTERNAL,
    ALTER COLUMN coefficients SET STORAGE EXTERNAL,
    ALTER COLUMN scales SET STORAGE EXTERNAL,
    ALTER COLUMN asset_keys DROP NOT NULL,
    ALTER COLUMN kind_numbers DROP NOT NULL,
    ALTER COLUMN quantities DROP NOT NULL;

-- For this migration only: sixteen bytes.
CREATE FUNCTION number_bytes(number numeric) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN number < 9223372036854775808 THEN '\x0000000000000000'::bytea || int8send(number::bigint)
    ELSE int8send(div(number, 18446744073709551616)::bigint)
        || int8send((mod(number, 18446744073709551616)
                     - CASE WHEN mod(number, 18446744073709551616) >= 9223372036854775808 THEN 18446744073709551616 ELSE 0 END
                    )::bigint)
END;

-- The arrays go at once, or their bytes would stay where the columns are gone.
UPDATE usage_block b
SET asset_keys = NULL,
    kind_numbers = NULL,
    quantities = NULL,
    (record_count, first_asset_key, last_asset_key, asset_offsets, kind_indexes, coefficients, scales) = (
    SELECT count(*), min(first_key), min(last_key),
           string_agg(substr(number_bytes(asset_key - first_key), 17 - asset_width), '' ORDER BY place),
           string_agg(substr(int2send((kind_number - 1)::smallint),
                             CASE WHEN cardinality(b.kind_codes) <= 256 THEN 2 ELSE 1 END), '' ORDER BY place),
           string_agg(substr(number_bytes(coefficient), 17 - coefficient_width), '' ORDER BY place),
           CASE WHEN min(scale) = max(scale) THEN substr(int2send(min(scale)::smallint), 2)
                ELSE string_agg(substr(int2send(scale::smallint), 2), '' ORDER BY place) END
    FROM (
        SELECT r.*,
               greatest(1, octet_length(ltrim(number_bytes(last_key - first_key), '\x00'::bytea))) AS asset_width,
               greatest(1, octet_length(ltrim(number_bytes(max(coefficient) OVER ()), '\x00'::bytea))) AS coefficient_width
        FROM (
            SELECT asset_key, kind_number, place, scale(quantity) AS scale,
                   trunc(quantity * ('1e' || scale(quantity)::text)::numeric) AS coefficient,
                   min(asset_key) OVER () AS first_key, max(asset_key) OVER () AS last_key
            FROM unnest(b.asset_keys, b.kind_numbers, b.quantities)
                WITH ORDINALITY AS one (asset_key, kind_number, quantity, place)
        ) AS r
    ) AS packed
);
DROP FUNCTION number_bytes;

-- Bytes are taken out of the table once for a block, by adding nothing to them, and not for each record.
CREATE OR REPLACE VIEW usage_record AS
SELECT b.tenant_key,
       b.usage_month,
       b.load_id,
       (b.block_number - 1) * 1024 + r.index + 1 AS row_number,
       b.first_asset_key + packed_number(k.asset_offsets, r.index, k.asset_width) AS asset_key,
       k.codes[r.kind_number] >> 9 AS meter_key,
       (k.codes[r.kind_number] >> 6 & 7)::smallint AS asset_type,
       k.starts[r.kind_number] AS period_start,
       k.ends[r.kind_number] AS period_end,
       CASE WHEN k.coefficient_width < 8 THEN packed_number(k.coefficients, r.index, k.coefficient_width)
            ELSE packed_wide_number(k.coefficients, r.index, k.coefficient_width) END
           * ('1e-' || get_byte(k.scales, r.index % k.scale_count)::text)::numeric AS quantity,
       (k.codes[r.kind_number] >> 3 & 7)::smallint AS billing_region,
       nullif(k.codes[r.kind_number] >> 1 & 3, 0)::smallint AS platform,
       k.codes[r.kind_number] & 1 = 1 AS trial,
       k.expiries[r.kind_number] AS trial_expiry
FROM usage_block b
CROSS JOIN LATERAL (
    SELECT b.kind_codes || '{}'::bigint[] AS codes,
           b.period_starts || '{}'::timestamptz[] AS starts,
           b.period_ends || '{}'::timestamptz[] AS ends,
           b.trial_expiries || '{}'::timestamptz[] AS expiries,
           b.asset_offsets || ''::bytea AS asset_offsets,
           b.kind_indexes || ''::bytea AS kind_indexes,
           b.coefficients || ''::bytea AS coefficients,
           b.scales || ''::bytea AS scales,
           octet_length(b.asset_offsets) / b.record_count AS asset_width,
           octet_length(b.kind_indexes) / b.record_count AS kind_width,
           octet_length(b.coefficients) / b.record_count AS coefficient_width,
           octet_length(b.scales) AS scale_count
    OFFSET 0
) AS k
CROSS JOIN LATERAL (
    SELECT index, packed_number(k.kind_indexes, index, k.kind_width)::integer + 1 AS kind_number
    FROM generate_series(0, b.record_count - 1) AS number (index)
    OFFSET 0
) AS r;

ALTER TABLE usage_block
    DROP COLUMN asset_keys,
    DROP COLUMN kind_numbers,
    DROP COLUMN quantities,
    ALTER COLUMN record_count SET NOT NULL,
    ALTER COLUMN first_asset_key SET NOT NULL,
    ALTER COLUMN last_asset_key SET NOT NULL,
    ALTER COLUMN asset_offsets SET NOT NULL,
    ALTER COLUMN kind_indexes SET NOT NULL,
    ALTER COLUMN coefficients SET NOT NULL,
    ALTER COLUMN scales SET NOT NULL,
    ADD CONSTRAINT usage_block_record_count_check CHECK (record_count BETWEEN 1 AND 1024),
    ADD CONSTRAINT usage_block_asset_keys_check CHECK (last_asset_key >= first_asset_key),
    ADD CONSTRAINT usage_block_asset_offsets_check CHECK (
        octet_length(asset_offsets) % record_count = 0 AND octet_length(asset_offsets) / record_count BETWEEN 1 AND 8),
    ADD CONSTRAINT usage_block_kind_indexes_check CHECK (
        octet_length(kind_indexes) % record_count = 0 AND octet_length(kind_indexes) / record_count BETWEEN 1 AND 2),
    ADD CONSTRAINT usage_block_coefficients_check CHECK (
        octet_length(coefficients) % record_count = 0 AND octet_length(coefficients) / record_count BETWEEN 1 AND 16),
    ADD CONSTRAINT usage_block_scales_check CHECK (octet_length(scales) IN (1, record_count)),
    ADD CONSTRAINT usage_block_kind_codes_check CHECK (cardinality(kind_codes) BETWEEN 1 AND record_count);
COMMENT ON COLUMN usage_block.record_count IS 'How many records it has.';
COMMENT ON COLUMN usage_block.first_asset_key IS 'The lowest key of the assets that generated its records.';
COMMENT ON COLUMN usage_block.last_asset_key IS 'The highest one.';
COMMENT ON COLUMN usage_block.asset_offsets IS
    'Of each record, the key of its asset less first_asset_key: numbers of one width, the highest byte first (packed_number).';
COMMENT ON COLUMN usage_block.kind_indexes IS
    'Which kind each record is of: the place of the kind in kind_codes, period_starts, period_ends and trial_expiries, from 0 (packed_number).';
COMMENT ON COLUMN usage_block.coefficients IS 'The amount measured of each record: its digits, without the point (packed_number up to 7 bytes each, packed_wide_number for more).';
COMMENT ON COLUMN usage_block.scales IS
    'The decimal places of each amount, with its digits as delivered, a byte each; one byte alone: all have so many.';
COMMENT ON TABLE usage_block IS
    'The records of loads in report order, 1024 to a block but for the last of a load; one partition a month. The view usage_record shows them as rows.';
