-- The shop of the support desk: its tables, and what had happened by 21 November 2026.
-- The dates are moved when a shop is created, so that this day is the day of its creation (see shop.py).

CREATE TABLE customers (
    email     TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    frozen_on TEXT
);

CREATE TABLE products (
    sku   TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    cents INTEGER NOT NULL CHECK (cents > 0)
);

CREATE TABLE orders (
    number    TEXT PRIMARY KEY CHECK (number GLOB 'A-[0-9][0-9][0-9][0-9]'),
    email     TEXT NOT NULL REFERENCES customers,
    placed_on TEXT NOT NULL,
    address   TEXT NOT NULL,
    status    TEXT NOT NULL CHECK (status IN ('unpaid', 'paid', 'packed', 'shipped', 'delivered', 'cancelled'))
);

CREATE TABLE order_lines (
    number   TEXT NOT NULL REFERENCES orders,
    sku      TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    cents    INTEGER NOT NULL CHECK (cents > 0),
    PRIMARY KEY (number, sku)
);

CREATE TABLE shipments (
    number       TEXT PRIMARY KEY REFERENCES orders,
    carrier      TEXT NOT NULL,
    parcel       TEXT NOT NULL UNIQUE,
    seen_in      TEXT NOT NULL,
    shipped_on   TEXT NOT NULL,
    expected_on  TEXT NOT NULL,
    delivered_on TEXT
);

CREATE TABLE returns (
    id          INTEGER PRIMARY KEY,
    number      TEXT NOT NULL UNIQUE REFERENCES orders,
    reason      TEXT NOT NULL,
    opened_on   TEXT NOT NULL,
    received_on TEXT
);

-- `key` names the one request that moved the money: asking again with the same key finds this row instead.
CREATE TABLE refunds (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    number      TEXT NOT NULL REFERENCES orders,
    cents       INTEGER NOT NULL CHECK (cents > 0),
    refunded_on TEXT NOT NULL
);

CREATE TABLE cases (
    id        INTEGER PRIMARY KEY,
    suspicion TEXT NOT NULL,
    number    TEXT REFERENCES orders,
    note      TEXT NOT NULL,
    opened_on TEXT NOT NULL
);

-- What each order costs, what was paid for it, and how much of that has gone back.
CREATE VIEW money AS
SELECT
    number,
    total,
    CASE status WHEN 'unpaid' THEN 0 ELSE total END AS paid,
    (SELECT coalesce(sum(cents), 0) FROM refunds WHERE refunds.number = orders.number) AS refunded
FROM orders
JOIN (SELECT number, sum(quantity * cents) AS total FROM order_lines GROUP BY number) USING (number);

INSERT INTO customers (email, name, frozen_on) VALUES
    ('ann@example.com', 'Ann Berg', NULL),
    ('bo@example.com', 'Bo Lund', NULL),
    ('cleo@example.com', 'Cleo Martin', NULL),
    ('dev@example.com', 'Dev Patel', NULL),
    ('eva@example.com', 'Eva Novak', NULL),
    ('finn@example.com', 'Finn Ryan', NULL);

INSERT INTO products (sku, name, cents) VALUES
    ('BLANKET', 'Wool blanket ''Vinter''', 9900),
    ('BOARD', 'Cutting board ''Birk''', 2900),
    ('KETTLE', 'Kettle ''Geysir''', 5900),
    ('KNIFE', 'Chef''s knife ''Skarp''', 7400),
    ('LAMP', 'Table lamp ''Lys''', 8900),
    ('MUG', 'Mug ''Fjord''', 1400),
    ('POT', 'Cast-iron pot ''Troll''', 11900),
    ('TOWEL', 'Linen towel ''Skagen''', 1250);

INSERT INTO orders (number, email, placed_on, address, status) VALUES
    ('A-1040', 'ann@example.com', '2026-09-28', 'Storgata 4, Oslo', 'delivered'),
    ('A-1041', 'bo@example.com', '2026-11-05', 'Kungsgatan 12, Malmö', 'delivered'),
    ('A-1042', 'ann@example.com', '2026-11-12', 'Storgata 4, Oslo', 'shipped'),
    ('A-1043', 'cleo@example.com', '2026-11-19', 'Rue Garibaldi 30, Lyon', 'packed'),
    ('A-1044', 'dev@example.com', '2026-11-09', '7 Mill Lane, Leeds', 'delivered'),
    ('A-1045', 'eva@example.com', '2026-11-08', 'Veveří 21, Brno', 'shipped'),
    ('A-1046', 'ann@example.com', '2026-11-15', 'Storgata 4, Oslo', 'cancelled'),
    ('A-1047', 'finn@example.com', '2026-11-20', '3 Patrick Street, Cork', 'unpaid'),
    ('A-1048', 'cleo@example.com', '2026-11-06', 'Rue Garibaldi 30, Lyon', 'delivered'),
    ('A-1049', 'bo@example.com', '2026-11-20', 'Kungsgatan 12, Malmö', 'paid'),
    ('A-1050', 'dev@example.com', '2026-10-30', '7 Mill Lane, Leeds', 'delivered'),
    ('A-1051', 'finn@example.com', '2026-11-13', 'Dock Road 88, Liverpool', 'delivered');

INSERT INTO order_lines (number, sku, quantity, cents) VALUES
    ('A-1040', 'LAMP', 1, 8900),
    ('A-1041', 'POT', 1, 11900),
    ('A-1042', 'MUG', 2, 1400),
    ('A-1042', 'KETTLE', 1, 5900),
    ('A-1043', 'BLANKET', 1, 9900),
    ('A-1044', 'KNIFE', 1, 7400),
    ('A-1044', 'BOARD', 1, 2900),
    ('A-1045', 'TOWEL', 4, 1250),
    ('A-1046', 'BOARD', 1, 2900),
    ('A-1047', 'KETTLE', 1, 5900),
    ('A-1048', 'MUG', 3, 1400),
    ('A-1049', 'LAMP', 1, 8900),
    ('A-1049', 'TOWEL', 1, 1250),
    ('A-1050', 'BLANKET', 1, 9900),
    ('A-1051', 'KNIFE', 6, 7400);

INSERT INTO shipments (number, carrier, parcel, seen_in, shipped_on, expected_on, delivered_on) VALUES
    ('A-1040', 'PostNord', 'PN40118820', 'Oslo', '2026-09-29', '2026-10-03', '2026-10-02'),
    ('A-1041', 'PostNord', 'PN40193307', 'Malmö', '2026-11-06', '2026-11-10', '2026-11-10'),
    ('A-1042', 'PostNord', 'PN40201145', 'Gothenburg', '2026-11-14', '2026-11-24', NULL),
    ('A-1044', 'DHL', 'DH77120054', 'Leeds', '2026-11-11', '2026-11-17', '2026-11-16'),
    ('A-1045', 'DHL', 'DH77118293', 'Prague', '2026-11-09', '2026-11-16', NULL),
    ('A-1048', 'DHL', 'DH77115660', 'Lyon', '2026-11-07', '2026-11-13', '2026-11-12'),
    ('A-1050', 'DHL', 'DH77101938', 'Leeds', '2026-11-01', '2026-11-06', '2026-11-05'),
    ('A-1051', 'DHL', 'DH77122410', 'Liverpool', '2026-11-14', '2026-11-18', '2026-11-18');

INSERT INTO returns (id, number, reason, opened_on, received_on) VALUES
    (301, 'A-1048', 'broken on arrival', '2026-11-13', NULL),
    (302, 'A-1050', 'no longer wanted', '2026-11-08', '2026-11-19');

INSERT INTO refunds (id, key, number, cents, refunded_on) VALUES
    (501, 'seed/A-1046', 'A-1046', 2900, '2026-11-15'),
    (502, 'seed/A-1048', 'A-1048', 1400, '2026-11-16');

INSERT INTO cases (id, suspicion, number, note, opened_on) VALUES
    (701, 'a suspicious email or call', NULL, 'A mail asked for a card number to release a parcel.', '2026-11-10');
