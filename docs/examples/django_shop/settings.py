"""The project's settings; the producer reads REDIS_URL from the environment."""

SECRET_KEY = "not one for production"  # noqa: S105
ROOT_URLCONF = "django_shop.urls"
ALLOWED_HOSTS = ["testserver"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
