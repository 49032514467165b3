"""The project's URLs."""

from django.urls import path

from .views import order

urlpatterns = [path("orders", order)]
