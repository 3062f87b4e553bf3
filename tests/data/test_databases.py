"""The LMDB reader beside the library itself: trees of several levels, long values, records deleted and rewritten."""

import random

import pytest

from caffepy.data.database import open_database
from caffepy.data.lmdb_reader import LmdbReader
from caffepy.errors import ArgumentError, DataError
from tests.golden_data import FOLDER, made_by

lmdb = pytest.importorskip("lmdb", reason="lmdb, whose records these are, is not installed")


def by_library(path):
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


@pytest.mark.parametrize("seed", range(6))
def test_records_are_the_librarys(seed, tmp_path):
    chance = random.Random(seed)
    sizes = [[0, 10], [800], [5000, 40_000], [10, 800, 5000], [1, 2000, 2030, 2040, 4080, 4096], [100]][seed]
    count = [3, 20_000, 500, 3000, 2000, 1][seed]
    with lmdb.open(str(tmp_path), map_size=2**28, lock=False) as environment:
        for _ in range(3):  # transactions that rewrite and delete, so that pages move
            with environment.begin(write=True) as transaction:
                for _ in range(count):
                    key = f"{chance.randrange(2 * count)}".encode() * chance.choice([1, 1, 3])
                    transaction.put(key, chance.randbytes(chance.choice(sizes)))
                for i in range(0, 2 * count, 7):
                    transaction.delete(f"{i}".encode())
    reader = LmdbReader(tmp_path)
    expected = by_library(tmp_path)
    assert list(reader.records()) == expected
    assert len(reader) == len(expected)
    assert list(reader.records()) == expected  # again


@pytest.mark.parametrize("path", sorted(made_by()["lmdb_keys_and_value_sizes"]))
def test_golden_databases(path):
    assert list(open_database(FOLDER / path, "lmdb").records()) == by_library(FOLDER / path)


def test_a_database_is_read_as_it_stood_when_it_was_opened(tmp_path):
    with lmdb.open(str(tmp_path), map_size=2**24, lock=False) as environment:
        with environment.begin(write=True) as transaction:
            transaction.put(b"a", b"1")
        reader = LmdbReader(tmp_path)
        with environment.begin(write=True) as transaction:
            transaction.put(b"b", b"2")
        assert list(reader.records()) == [(b"a", b"1")]
        assert list(LmdbReader(tmp_path).records()) == [(b"a", b"1"), (b"b", b"2")]


def test_databases_of_another_kind(tmp_path):
    with lmdb.open(str(tmp_path), max_dbs=2, lock=False) as environment:
        environment.open_db(b"inner")
    with pytest.raises(DataError, match="is damaged"):  # a table of tables is none of records
        list(LmdbReader(tmp_path).records())
    with pytest.raises(ArgumentError, match="unknown database backend 'rocksdb'; there are LMDB, LEVELDB"):
        open_database(tmp_path, "rocksdb")
