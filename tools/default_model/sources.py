"""What the model reads: Debian packages, the files in them, and the licence of their text."""

from dataclasses import dataclass
from typing import Literal

Form = Literal["dict", "fortune", "html", "markdown", "plain", "pod", "rdb", "sword", "wordnet"]


@dataclass(frozen=True, slots=True)
class Source:
    """Text of one Debian package.

    `weight` is how often an epoch repeats the text; `cap_mb` bounds it before that, taking documents in hash order.
    """

    package: str
    form: Form
    paths: tuple[str, ...]
    licence: str
    about: str
    cap_mb: float = 100.0
    weight: int = 1


def _doc(package: str, *folders: str) -> tuple[str, ...]:
    return tuple(f"usr/share/doc/{package}/{folder}" for folder in folders)


SOURCES: tuple[Source, ...] = (
    Source(
        "r-cran-janeaustenr",
        "rdb",
        ("usr/lib/R/site-library/janeaustenr/data/Rdata.rdb",),
        "public domain (texts), MIT (package)",
        "Jane Austen's six novels",
        weight=2,
    ),
    Source(
        "r-cran-tokenizers",
        "rdb",
        ("usr/lib/R/site-library/tokenizers/data/Rdata.rdb",),
        "public domain (text), MIT (package)",
        "Herman Melville's Moby-Dick",
        weight=2,
    ),
    Source(
        "sword-text-web",
        "sword",
        ("usr/share/sword/modules/texts/ztext/*/*.bzz",),
        "public domain",
        "World English Bible, a modern translation",
    ),
    Source(
        "sword-comm-mhcc",
        "sword",
        ("usr/share/sword/modules/comments/zcom/mhcc/*.bzz",),
        "public domain",
        "Matthew Henry's Concise Commentary",
        cap_mb=2.5,
    ),
    Source(
        "sword-comm-tdavid",
        "sword",
        ("usr/share/sword/modules/comments/zcom/tdavid/*.czz",),
        "public domain",
        "C. H. Spurgeon's Treasury of David",
        cap_mb=2.5,
    ),
    Source(
        "wordnet-base",
        "wordnet",
        ("usr/share/wordnet/data.*",),
        "WordNet 3.0",
        "definitions and example sentences of WordNet",
    ),
    Source(
        "dict-jargon",
        "dict",
        ("usr/share/dictd/jargon.dict.dz",),
        "public domain",
        "the Jargon File",
        weight=2,
    ),
    Source(
        "fortunes",
        "fortune",
        tuple(
            f"usr/share/games/fortunes/{name}"
            for name in ("computers", "education", "food", "linux", "perl", "platitudes", "science", "wisdom", "work")
        ),
        "BSD (compilation)",
        "sayings about work, science, computers and food",
        weight=2,
    ),
    Source(
        "golang-1.19-src",
        "plain",
        ("usr/share/go-1.19/src/testdata/Isaac.Newton-Opticks.txt",),
        "public domain (text), BSD-3-Clause (package)",
        "Isaac Newton's Opticks",
    ),
    Source(
        "sqlite3-doc",
        "html",
        (*_doc("sqlite3", "*.html"), *_doc("sqlite3", "c3ref/*.html", "session/*.html")),
        "public domain",
        "SQLite documentation",
        cap_mb=4.0,
    ),
    Source(
        "postgresql-doc-15",
        "html",
        _doc("postgresql-doc-15", "html/*.html"),
        "PostgreSQL",
        "PostgreSQL documentation",
        cap_mb=4.0,
    ),
    Source(
        "python3.11-doc",
        "html",
        tuple(
            f"usr/share/doc/python3.11/html/{folder}/*.html"
            for folder in ("tutorial", "faq", "howto", "using", "extending", "whatsnew", "reference", "library")
        ),
        "PSF-2.0",
        "Python documentation",
        cap_mb=5.0,
    ),
    Source(
        "perl-doc",
        "pod",
        ("usr/share/perl/5.*/pod/*.pod",),
        "Artistic-1.0-Perl (or GPL-1+)",
        "Perl documentation",
        cap_mb=5.0,
    ),
    Source(
        "rust-doc",
        "html",
        _doc(
            "rust-doc",
            *(f"html/{book}/*.html" for book in ("book", "reference", "nomicon", "rust-by-example", "edition-guide")),
            "html/embedded-book/**/*.html",
        ),
        "MIT or Apache-2.0",
        "The Rust Programming Language and its sister books",
        cap_mb=2.5,
    ),
    Source(
        "apache2-doc",
        "html",
        _doc("apache2-doc", "manual/en/**/*.html"),
        "Apache-2.0",
        "Apache HTTP server documentation",
        cap_mb=2.0,
    ),
    Source(
        "python-django-doc",
        "html",
        _doc(
            "python-django-doc",
            *(f"html/{part}/**/*.html" for part in ("intro", "topics", "howto", "faq", "misc", "internals", "ref")),
        ),
        "BSD-3-Clause",
        "Django documentation",
        cap_mb=2.5,
    ),
    Source(
        "python-sklearn-doc",
        "html",
        _doc("python-sklearn-doc", "html/modules/*.html", "html/tutorial/**/*.html", "html/*.html"),
        "BSD-3-Clause",
        "scikit-learn user guide",
        cap_mb=1.5,
    ),
    Source(
        "python-sqlalchemy-doc",
        "html",
        _doc("python-sqlalchemy-doc", "html/orm/*.html", "html/core/*.html", "html/faq/*.html", "html/tutorial/*.html"),
        "MIT",
        "SQLAlchemy documentation",
        cap_mb=1.5,
    ),
    Source("nodejs-doc", "markdown", _doc("nodejs", "api/*.md.gz"), "MIT", "Node.js documentation", cap_mb=1.5),
    Source(
        "llvm-14-doc",
        "html",
        _doc("llvm-14-doc", "html/*.html", "html/tutorial/**/*.html"),
        "Apache-2.0 with LLVM exceptions",
        "LLVM documentation",
        cap_mb=2.5,
    ),
    Source(
        "twisted-doc",
        "html",
        _doc("twisted-doc", "html/*/howto/**/*.html", "html/historic/*.html"),
        "MIT",
        "Twisted guides",
        cap_mb=1.0,
    ),
    Source(
        "sphinx-doc",
        "html",
        _doc("sphinx-doc", "html/*.html", "html/usage/**/*.html", "html/tutorial/*.html", "html/development/*.html"),
        "BSD-2-Clause",
        "Sphinx documentation",
        cap_mb=1.0,
    ),
    Source(
        "python-flask-doc", "html", _doc("python-flask-doc", "html/**/*.html"), "BSD-3-Clause", "Flask documentation"
    ),
    Source(
        "krb5-doc",
        "html",
        _doc("krb5-doc", "admin/**/*.html", "user/**/*.html", "basic/*.html"),
        "MIT",
        "Kerberos documentation",
        cap_mb=0.8,
    ),
)
