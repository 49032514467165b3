"""The views that customers use."""

import json

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from .tracking import track


@csrf_exempt
@transaction.atomic
def order(request: HttpRequest) -> JsonResponse:
    """Accept an order; `track` waits for its commit."""
    ordered = json.loads(request.body)
    track(ordered["customer"], "Charged", {"Amount": ordered["amount"]})
    if ordered["amount"] < 0:
        transaction.set_rollback(True)
        return JsonResponse({"error": "no order"}, status=422)
    return JsonResponse({"ordered": True}, status=201)
